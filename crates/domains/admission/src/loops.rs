//! `foreach`: the elements of a list, one after the other, and the variables that name them.

use crate::context::Frame;
use crate::jmespath::{Error, Expression, Scope, Val};
use crate::refusal::{At, Read};
use crate::template::Text;
use serde_json::Value;

/// How many elements a loop may have.
const ELEMENTS: usize = 10_000;

/// The list of a loop.
#[derive(Debug)]
pub(crate) struct Loop {
    list: List,
    scope: Option<bool>,
}

#[derive(Debug)]
enum List {
    Fixed { usual: Expression, deleting: Expression },
    Text(Text),
}

/// How the element and its index are called, at one depth of loops.
pub(crate) struct Names {
    element: &'static str,
    index: &'static str,
}

macro_rules! names {
    ($($depth:literal)*) => {
        &[$(Names { element: concat!("element", $depth), index: concat!("elementIndex", $depth) }),*]
    };
}

/// By depth, from the outermost.
pub(crate) static NAMES: &[Names] = names!(0 1 2 3 4 5 6 7 8 9);

impl Names {
    pub(crate) fn bind<'a>(&self, frame: &Frame<'a>, element: &Val<'a>, index: usize) {
        let index = Val::Own(Value::from(index));
        frame.bind("element", element.clone());
        frame.bind(self.element, element.clone());
        frame.bind("elementIndex", index.clone());
        frame.bind(self.index, index);
    }
}

impl Loop {
    pub(crate) fn compile(at: &At<'_>) -> Read<Loop> {
        let list = at.need("list")?;
        let read = |text: &str| {
            Expression::parse(text).or_else(|fault| list.refuse(format_args!("not JMESPath: {fault}")))
        };
        let scope = at.get("elementScope").map(|_| at.flag("elementScope", true)).transpose()?;
        let list = match Text::parse(&list, list.str()?)? {
            Text::Fixed(text) => List::Fixed {
                usual: read(&text)?,
                deleting: read(&text.replace("request.object", "request.oldObject"))?,
            },
            text => List::Text(text),
        };
        Ok(Loop { list, scope })
    }

    /// The elements; None where the list is not there. What is no list is a list of one.
    pub(crate) fn elements<'a>(&self, frame: &Frame<'a>) -> Result<Option<Vec<Val<'a>>>, Error> {
        let view = frame.view();
        let found = match &self.list {
            List::Fixed { deleting, .. } if view.deleting() => deleting.search(&view),
            List::Fixed { usual, .. } => usual.search(&view),
            List::Text(text) => match text.render(&view, &crate::template::Place::ROOT)? {
                value if value.as_str().is_some() => {
                    let text = value.as_str().unwrap_or_default();
                    let expression =
                        Expression::parse(text).map_err(|fault| Error::Fault(fault.to_string()))?;
                    expression.search(&view)
                }
                value => Ok(value),
            },
        };
        let found = match found {
            Err(Error::NotFound(_) | Error::Fault(_)) => return Ok(None),
            found => found?,
        };
        let elements = match found.is_list() {
            true => found.into_items().unwrap_or_default(),
            false => vec![found],
        };
        if elements.len() > ELEMENTS {
            return Err(Error::Fault(format!(
                "the list has {} elements, of which {ELEMENTS} are allowed",
                elements.len()
            )));
        }
        view.world().meter.spend(elements.len())?;
        Ok(Some(elements))
    }

    /// Whether a pattern is held against the element rather than the object.
    pub(crate) fn scoped(&self, element: &Val<'_>) -> Result<bool, Error> {
        let map = element.as_object().is_some();
        match self.scope {
            Some(true) if !map => Err(Error::Fault(format!(
                "elementScope is for elements that are mappings, and this is {}",
                element.type_name()
            ))),
            Some(scope) => Ok(scope),
            None => Ok(map),
        }
    }
}
