//! Tokens into a tree, by binding powers.

use super::Fault;
use super::functions::{self, Function};
use super::lexer::{Token, tokens};
use regex::Regex;
use serde_json::Value;
use std::sync::Arc;

/// How deep an expression may be nested.
const DEPTH: usize = 64;

/// How many operators, dots and brackets it may have: each makes the tree deeper.
const LINKS: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Debug)]
pub(crate) enum Node {
    Current,
    /// Shared with the errors that name it: that a key is not there is usual.
    Field(Arc<str>),
    Binding(Box<str>),
    Literal(Value),
    Index(i64),
    Slice(Option<i64>, Option<i64>, i64),
    /// The right in what the left finds.
    Chain(Box<Node>, Box<Node>),
    /// As a chain, but ends projections.
    Pipe(Box<Node>, Box<Node>),
    /// The right in each element of the list on the left.
    Project(Box<Node>, Box<Node>),
    /// The right in each value of the object on the left.
    Values(Box<Node>, Box<Node>),
    /// The right in each element of the list on the left for which the condition holds.
    Filter(Box<Node>, Box<Node>, Box<Node>),
    Flatten(Box<Node>),
    Or(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    List(Vec<Node>),
    Hash(Vec<(Box<str>, Node)>),
    /// `&expression`, an argument to functions.
    Reference(Box<Node>),
    Call(&'static Function, Vec<Node>, Option<Regex>),
}

pub(crate) fn parse(text: &str) -> Result<Node, Fault> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, links: 0 };
    let node = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(node),
        _ => Err(parser.fault("the expression was complete before this")),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    links: usize,
}

fn power(token: &Token) -> u32 {
    match token {
        Token::Pipe => 1,
        Token::Or => 2,
        Token::And => 3,
        Token::Eq | Token::Ne | Token::Lt | Token::Le | Token::Gt | Token::Ge => 5,
        Token::Flatten => 9,
        Token::Star => 20,
        Token::Filter => 21,
        Token::Dot => 40,
        Token::Not => 45,
        Token::LeftBrace => 50,
        Token::LeftBracket => 55,
        Token::LeftParen => 60,
        _ => 0,
    }
}

/// Below it, a token ends a projection.
const PROJECTION: u32 = 10;

fn boxed(left: Node, right: Node) -> (Box<Node>, Box<Node>) {
    (Box::new(left), Box::new(right))
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].1
    }

    fn ahead(&self, by: usize) -> &Token {
        self.tokens.get(self.at + by).map_or(&Token::End, |(_, token)| token)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        if token != Token::End {
            self.at += 1;
        }
        token
    }

    fn fault(&self, why: impl Into<String>) -> Fault {
        Fault { at: self.tokens[self.at].0, why: why.into() }
    }

    fn expect(&mut self, token: &Token, named: &str) -> Result<(), Fault> {
        if self.peek() != token {
            return Err(self.fault(format!("{named} is missing")));
        }
        self.at += 1;
        Ok(())
    }

    fn expression(&mut self, bound: u32) -> Result<Node, Fault> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.fault(format!("nested deeper than {DEPTH}")));
        }
        let mut left = self.prefix()?;
        while bound < power(self.peek()) {
            left = self.infix(left)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn prefix(&mut self) -> Result<Node, Fault> {
        let token = self.take();
        match token {
            Token::Identifier(name) if *self.peek() == Token::LeftParen => self.call(&name),
            Token::Identifier(name) | Token::Quoted(name) => Ok(Node::Field(name.into())),
            Token::Literal(value) => Ok(Node::Literal(value)),
            Token::Binding(name) => Ok(Node::Binding(name.into())),
            Token::Current => Ok(Node::Current),
            Token::Star => {
                let (left, right) = boxed(Node::Current, self.projected(20)?);
                Ok(Node::Values(left, right))
            }
            Token::Filter => self.filter(Node::Current),
            Token::LeftBrace => self.hash(),
            Token::Flatten => {
                let (left, right) = boxed(Node::Flatten(Box::new(Node::Current)), self.projected(9)?);
                Ok(Node::Project(left, right))
            }
            Token::LeftBracket => self.bracket(Node::Current, true),
            Token::Not => Ok(Node::Not(Box::new(self.expression(45)?))),
            Token::Ampersand => Ok(Node::Reference(Box::new(self.expression(0)?))),
            Token::LeftParen => {
                let inner = self.expression(0)?;
                self.expect(&Token::RightParen, ")")?;
                Ok(inner)
            }
            Token::End => Err(self.fault("the expression ends where a value was to be")),
            _ => {
                self.at -= 1;
                Err(self.fault("this cannot begin a value"))
            }
        }
    }

    fn infix(&mut self, left: Node) -> Result<Node, Fault> {
        self.links += 1;
        if self.links > LINKS {
            return Err(self.fault(format!("more than {LINKS} operators")));
        }
        let token = self.take();
        let bound = power(&token);
        let comparison = match token {
            Token::Dot if *self.peek() == Token::Star => {
                self.at += 1;
                let (left, right) = boxed(left, self.projected(20)?);
                return Ok(Node::Values(left, right));
            }
            Token::Dot => {
                let (left, right) = boxed(left, self.after_dot(40)?);
                return Ok(Node::Chain(left, right));
            }
            Token::Pipe => {
                let (left, right) = boxed(left, self.expression(bound)?);
                return Ok(Node::Pipe(left, right));
            }
            Token::Or => {
                let (left, right) = boxed(left, self.expression(bound)?);
                return Ok(Node::Or(left, right));
            }
            Token::And => {
                let (left, right) = boxed(left, self.expression(bound)?);
                return Ok(Node::And(left, right));
            }
            Token::Filter => return self.filter(left),
            Token::Flatten => {
                let (left, right) = boxed(Node::Flatten(Box::new(left)), self.projected(9)?);
                return Ok(Node::Project(left, right));
            }
            Token::LeftBracket => return self.bracket(left, false),
            Token::Eq => Comparison::Eq,
            Token::Ne => Comparison::Ne,
            Token::Lt => Comparison::Lt,
            Token::Le => Comparison::Le,
            Token::Gt => Comparison::Gt,
            Token::Ge => Comparison::Ge,
            _ => {
                self.at -= 1;
                return Err(self.fault("this cannot follow a value"));
            }
        };
        let (left, right) = boxed(left, self.expression(bound)?);
        Ok(Node::Compare(comparison, left, right))
    }

    fn after_dot(&mut self, bound: u32) -> Result<Node, Fault> {
        match self.peek() {
            Token::Identifier(_) | Token::Quoted(_) | Token::Star => self.expression(bound),
            Token::LeftBracket => {
                self.at += 1;
                self.list()
            }
            Token::LeftBrace => {
                self.at += 1;
                self.hash()
            }
            _ => Err(self.fault("after a dot there is a name, a function, [..] or {..}")),
        }
    }

    /// What is done with each element of a projection.
    fn projected(&mut self, bound: u32) -> Result<Node, Fault> {
        match self.peek() {
            Token::Dot => {
                self.at += 1;
                self.after_dot(bound)
            }
            Token::LeftBracket | Token::Filter => self.expression_after(bound),
            token if power(token) < PROJECTION => Ok(Node::Current),
            _ => Err(self.fault("this cannot follow a projection")),
        }
    }

    /// An expression that goes on from the current value.
    fn expression_after(&mut self, bound: u32) -> Result<Node, Fault> {
        let mut left = Node::Current;
        while bound < power(self.peek()) {
            left = self.infix(left)?;
        }
        Ok(left)
    }

    fn filter(&mut self, left: Node) -> Result<Node, Fault> {
        let condition = self.expression(0)?;
        self.expect(&Token::RightBracket, "]")?;
        let right = if *self.peek() == Token::Flatten { Node::Current } else { self.projected(21)? };
        Ok(Node::Filter(Box::new(left), Box::new(condition), Box::new(right)))
    }

    /// After `[`: an index, a slice, `*]`, or a list of expressions.
    fn bracket(&mut self, left: Node, first: bool) -> Result<Node, Fault> {
        match (self.peek(), self.ahead(1)) {
            (Token::Number(_) | Token::Colon, _) => self.index(left, first),
            (Token::Star, Token::RightBracket) => {
                self.at += 2;
                let (left, right) = boxed(left, self.projected(20)?);
                Ok(Node::Project(left, right))
            }
            _ if first => self.list(),
            _ => Err(self.fault("in [..] there is an index, a slice, * or ?condition")),
        }
    }

    fn index(&mut self, left: Node, first: bool) -> Result<Node, Fault> {
        let mut parts = [None, None, None];
        let mut part = 0;
        loop {
            match self.take() {
                Token::Number(number) if parts[part].is_none() => parts[part] = Some(number),
                Token::Colon if part < 2 => part += 1,
                Token::RightBracket => break,
                _ => {
                    self.at -= 1;
                    return Err(self.fault("a slice is [start:stop:step]"));
                }
            }
        }
        let chain = |node: Node| {
            if first { node } else { Node::Chain(Box::new(left), Box::new(node)) }
        };
        if part == 0 {
            return Ok(chain(Node::Index(parts[0].unwrap_or(0))));
        }
        let step = parts[2].unwrap_or(1);
        if step == 0 {
            return Err(self.fault("the step of a slice is not 0"));
        }
        let slice = chain(Node::Slice(parts[0], parts[1], step));
        let (left, right) = boxed(slice, self.projected(20)?);
        Ok(Node::Project(left, right))
    }

    fn list(&mut self) -> Result<Node, Fault> {
        let mut items = vec![self.expression(0)?];
        while *self.peek() == Token::Comma {
            self.at += 1;
            items.push(self.expression(0)?);
        }
        self.expect(&Token::RightBracket, "]")?;
        Ok(Node::List(items))
    }

    fn hash(&mut self) -> Result<Node, Fault> {
        let mut items = Vec::new();
        loop {
            let name = match self.take() {
                Token::Identifier(name) | Token::Quoted(name) => name,
                _ => {
                    self.at -= 1;
                    return Err(self.fault("a key is missing"));
                }
            };
            self.expect(&Token::Colon, ":")?;
            items.push((name.into(), self.expression(0)?));
            match self.take() {
                Token::Comma => {}
                Token::RightBrace => return Ok(Node::Hash(items)),
                // Policies are written without the comma, too.
                Token::Identifier(_) | Token::Quoted(_) => self.at -= 1,
                _ => {
                    self.at -= 1;
                    return Err(self.fault("} is missing"));
                }
            }
        }
    }

    fn call(&mut self, name: &str) -> Result<Node, Fault> {
        let begin = self.fault("");
        self.at += 1;
        let mut arguments = Vec::new();
        if *self.peek() != Token::RightParen {
            arguments.push(self.expression(0)?);
            while *self.peek() == Token::Comma {
                self.at += 1;
                arguments.push(self.expression(0)?);
            }
        }
        self.expect(&Token::RightParen, ")")?;
        let function = functions::find(name).map_err(|why| Fault { why, ..begin.clone() })?;
        let enough = arguments.len() >= function.least && arguments.len() <= function.most;
        if !enough {
            let why =
                format!("{name} takes {} arguments, and here are {}", function.arity(), arguments.len());
            return Err(Fault { why, ..begin });
        }
        let regex = match arguments.first() {
            Some(Node::Literal(Value::String(pattern))) if function.takes_regex() => {
                Some(crate::meter::regex(pattern).map_err(|why| Fault { why, ..begin })?)
            }
            _ => None,
        };
        Ok(Node::Call(function, arguments, regex))
    }
}
