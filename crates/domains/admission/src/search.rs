//! Expressions by themselves, as people try them out.

use crate::jmespath::{Error, Expression, Scope, Val, World};
use crate::meter::Meter;
use serde_json::Value;
use std::cell::Cell;

/// A document and nothing else.
struct Document<'a> {
    value: &'a Value,
    world: World,
}

impl<'a> Scope<'a> for Document<'a> {
    fn variable(&self, name: &str) -> Result<Option<Val<'a>>, Error> {
        Ok(self.value.get(name).map(Val::Ref))
    }

    fn whole(&self) -> Result<Val<'a>, Error> {
        Ok(Val::Ref(self.value))
    }

    fn world(&self) -> &World {
        &self.world
    }
}

pub(crate) fn search(text: &str, value: &Value) -> Result<Value, String> {
    let expression = Expression::parse(text).map_err(|fault| format!("{text} is not JMESPath: {fault}"))?;
    let world = World { now: 0, seed: Cell::new(1), meter: Meter::new() };
    expression.search(&Document { value, world }).map(Val::into_value).map_err(|why| why.to_string())
}
