//! Expressions by themselves, as people try them out.

use crate::assertion::{self, Assertion};
use crate::cel::{self, Outside, Program, Scope as CelScope, Variables};
use crate::cel_rule::ROOTS;
use crate::context::Frame;
use crate::jmespath::{Error, Expression, Scope, Val};
use crate::lookup::Nothing;
use crate::meter::Meter;
use crate::refusal::At;
use crate::request::Request;
use keyward_expressions::World;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use typed_arena::Arena;

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

/// What a CEL expression yields, with the names that policies see.
pub(crate) fn evaluate(text: &str, bindings: &[(&'static str, &Value)], now: i128) -> Result<Value, String> {
    let program = Program::parse(text, &cel::names(&ROOTS, &[]))?;
    let (arena, needs, request) = (Arena::new(), RefCell::new(Vec::new()), Request::of_payload(Value::Null));
    let world = World { now, seed: Cell::new(1), meter: Meter::new() };
    let frame = Frame::new(&request, &arena, &Nothing, &world, &needs);
    let outside = Outside::new(&frame);
    let roots: Vec<_> =
        bindings.iter().map(|(name, value)| (*name, crate::cel::Val::Json(value).simple())).collect();
    let variables = Variables::new(&[]);
    let scope = CelScope { roots: &roots, variables: &variables, host: &outside, world: &world };
    program.run(&scope).map_err(|why| why.to_string())?.to_json()
}

/// What of a document does not fit an assertion tree.
pub(crate) fn assert(tree: &Value, value: &Value) -> Result<Vec<String>, String> {
    let assertion = Assertion::compile(&At::new(tree)).map_err(|refusal| refusal.to_string())?;
    let world = World { now: 0, seed: Cell::new(1), meter: Meter::new() };
    let document = Document { value, world };
    assertion.check(None, &assertion::Names::new(&document), "").map_err(|why| why.to_string())
}
