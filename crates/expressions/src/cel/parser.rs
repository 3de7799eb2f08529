//! Tokens into a tree. Macros become nodes of their own.

use super::lexer::{Token, located, tokens};
use super::value::Literal;
use regex::Regex;

/// How deep an expression may be nested.
const DEPTH: usize = 96;

/// How many operators it may have: each makes the tree deeper.
const LINKS: usize = 250;

/// Those that a name or a type may be wrong of know where they begin: bytes from the beginning of the text.
#[derive(Debug)]
pub(super) enum Node {
    Literal(Literal),
    Ident(Box<str>, usize),
    /// `x.field`, or `x.?field`.
    Select(Box<Node>, Box<str>, bool),
    /// `has(x.field)`
    Has(Box<Node>, Box<str>),
    /// `x[i]`, or `x[?i]`.
    Index(Box<Node>, Box<Node>, bool),
    /// A function, with what it is called on, if anything.
    Call(Option<Box<Node>>, Box<str>, Vec<Node>, Option<Regex>, usize),
    /// Begins at its operator.
    Binary(Binary, Box<Node>, Box<Node>, usize),
    Not(Box<Node>),
    Negate(Box<Node>),
    If(Box<Node>, Box<Node>, Box<Node>),
    /// Elements; those marked are left out where they are none.
    List(Vec<(bool, Node)>),
    Map(Vec<(bool, Node, Node)>),
    Object(Box<str>, Vec<(bool, Box<str>, Node)>, usize),
    Loop(Box<Loop>),
    /// `cel.bind(name, value, in)`, `optMap` and their like: a name within an expression.
    Bind(Box<str>, Box<Node>, Box<Node>),
    /// `x.optMap(name, in)`, and whether what is in it is optional already.
    Optional(Box<Node>, Box<str>, Box<Node>, bool),
}

impl Node {
    /// Where it begins, as far as that is known.
    pub(super) fn at(&self) -> Option<usize> {
        match self {
            Node::Ident(_, at) | Node::Call(.., at) | Node::Binary(.., at) | Node::Object(.., at) => {
                Some(*at)
            }
            Node::Select(inner, ..)
            | Node::Has(inner, _)
            | Node::Index(inner, ..)
            | Node::Not(inner)
            | Node::Negate(inner)
            | Node::If(inner, ..)
            | Node::Optional(inner, ..)
            | Node::Bind(_, inner, _) => inner.at(),
            Node::Loop(each) => each.over.at(),
            Node::List(items) => items.first().and_then(|(_, item)| item.at()),
            Node::Map(items) => items.first().and_then(|(_, key, _)| key.at()),
            Node::Literal(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

#[derive(Debug)]
pub(super) struct Loop {
    pub(super) over: Node,
    pub(super) kind: LoopKind,
    pub(super) first: Box<str>,
    /// Of the two-variable forms: the value, the first being index or key.
    pub(super) second: Option<Box<str>>,
    pub(super) condition: Option<Node>,
    pub(super) result: Option<Node>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
    TransformList,
    TransformMap,
    TransformMapEntry,
    SortBy,
}

pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0, links: 0 };
    let node = parser.expression()?;
    if *parser.peek() != Token::End {
        return parser.fault("the expression was complete before this");
    }
    Ok(node)
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    links: usize,
}

const LEVELS: [&[(&str, Binary)]; 5] = [
    &[("||", Binary::Or)],
    &[("&&", Binary::And)],
    &[
        ("==", Binary::Eq),
        ("!=", Binary::Ne),
        ("<=", Binary::Le),
        (">=", Binary::Ge),
        ("<", Binary::Lt),
        (">", Binary::Gt),
        ("in", Binary::In),
    ],
    &[("+", Binary::Add), ("-", Binary::Sub)],
    &[("*", Binary::Mul), ("/", Binary::Div), ("%", Binary::Rem)],
];

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].1
    }

    /// Where the next token begins.
    fn begin(&self) -> usize {
        self.tokens[self.at].0
    }

    fn fault<T>(&self, why: &str) -> Result<T, String> {
        Err(located(self.text, self.begin(), why))
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        if token != Token::End {
            self.at += 1;
        }
        token
    }

    fn eat(&mut self, sign: &str) -> bool {
        let eaten = matches!(self.peek(), Token::Sign(known) if *known == sign);
        if eaten {
            self.at += 1;
        }
        eaten
    }

    fn link(&mut self) -> Result<(), String> {
        self.links += 1;
        if self.links > LINKS { self.fault(&format!("more than {LINKS} operators")) } else { Ok(()) }
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.eat(sign) { Ok(()) } else { self.fault(&format!("{sign} is missing")) }
    }

    fn expression(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return self.fault(&format!("nested deeper than {DEPTH}"));
        }
        let condition = self.level(0)?;
        let node = if self.eat("?") {
            let then = self.level(0)?;
            self.expect(":")?;
            Node::If(Box::new(condition), Box::new(then), Box::new(self.expression()?))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(node)
    }

    fn level(&mut self, level: usize) -> Result<Node, String> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        loop {
            let found = operators.iter().find(|(sign, _)| match self.peek() {
                Token::Sign(known) => known == sign,
                Token::Ident(name) => *sign == "in" && name == "in",
                _ => false,
            });
            let Some((_, operator)) = found else { return Ok(left) };
            let at = self.begin();
            self.at += 1;
            self.link()?;
            left = Node::Binary(*operator, Box::new(left), Box::new(self.level(level + 1)?), at);
        }
    }

    fn unary(&mut self) -> Result<Node, String> {
        let (mut nots, mut minuses) = (0, 0);
        while self.eat("!") {
            nots += 1;
        }
        while nots == 0 && self.eat("-") {
            minuses += 1;
        }
        if nots + minuses > DEPTH {
            return self.fault(&format!("nested deeper than {DEPTH}"));
        }
        let mut node = match (self.peek(), minuses) {
            (Token::Int(value), 1) => {
                let value = value.wrapping_neg();
                self.at += 1;
                minuses = 0;
                self.postfix(Node::Literal(Literal::Int(value)))?
            }
            (Token::Int(i64::MIN), _) => return self.fault("an integer is too large"),
            _ => {
                let primary = self.primary()?;
                self.postfix(primary)?
            }
        };
        for _ in 0..nots {
            node = Node::Not(Box::new(node));
        }
        for _ in 0..minuses {
            node = Node::Negate(Box::new(node));
        }
        Ok(node)
    }

    fn primary(&mut self) -> Result<Node, String> {
        let at = self.begin();
        let token = self.next();
        Ok(match token {
            Token::Int(value) => Node::Literal(Literal::Int(value)),
            Token::Uint(value) => Node::Literal(Literal::Uint(value)),
            Token::Double(value) => Node::Literal(Literal::Double(value)),
            Token::Text(text) => Node::Literal(Literal::Text(text.into())),
            Token::Bytes(bytes) => Node::Literal(Literal::Bytes(bytes.into())),
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                inner
            }
            Token::Sign("[") | Token::Sign("[?") => self.list(token == Token::Sign("[?"))?,
            Token::Sign("{") => self.map()?,
            Token::Sign(".") => return self.primary(),
            Token::Ident(name) => match name.as_str() {
                "true" => Node::Literal(Literal::Bool(true)),
                "false" => Node::Literal(Literal::Bool(false)),
                "null" => Node::Literal(Literal::Null),
                _ if self.eat("(") => {
                    let arguments = self.arguments()?;
                    self.call(None, &name, arguments, at)?
                }
                _ => Node::Ident(name.into(), at),
            },
            _ => {
                self.at = self.at.saturating_sub(usize::from(token != Token::End));
                return self.fault("a value is expected");
            }
        })
    }

    fn postfix(&mut self, mut node: Node) -> Result<Node, String> {
        loop {
            let before = self.at;
            if self.eat(".?") {
                node = Node::Select(Box::new(node), self.name()?.into(), true);
            } else if self.eat(".") {
                let at = self.begin();
                let name = self.name()?;
                if self.eat("(") {
                    let arguments = self.arguments()?;
                    node = self.call(Some(node), &name, arguments, at)?;
                } else {
                    node = Node::Select(Box::new(node), name.into(), false);
                }
            } else if self.eat("[?") {
                let index = self.expression()?;
                self.expect("]")?;
                node = Node::Index(Box::new(node), Box::new(index), true);
            } else if self.eat("[") {
                let index = self.expression()?;
                self.expect("]")?;
                node = Node::Index(Box::new(node), Box::new(index), false);
            } else if let (Token::Sign("{"), Some(name)) = (self.peek(), dotted(&node)) {
                let at = node.at().unwrap_or_else(|| self.begin());
                self.at += 1;
                node = self.object(name, at)?;
            }
            if self.at == before {
                return Ok(node);
            }
            self.link()?;
        }
    }

    fn name(&mut self) -> Result<String, String> {
        match self.next() {
            Token::Ident(name) => Ok(name),
            Token::Text(name) => Ok(name),
            _ => self.fault("a name is expected"),
        }
    }

    fn arguments(&mut self) -> Result<Vec<Node>, String> {
        let mut arguments = Vec::new();
        while !self.eat(")") {
            arguments.push(self.expression()?);
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(arguments)
    }

    fn list(&mut self, first_optional: bool) -> Result<Node, String> {
        let mut items = Vec::new();
        let mut optional = first_optional;
        while !self.eat("]") {
            optional |= self.eat("?");
            items.push((std::mem::take(&mut optional), self.expression()?));
            if !self.eat(",") {
                self.expect("]")?;
                break;
            }
        }
        Ok(Node::List(items))
    }

    fn map(&mut self) -> Result<Node, String> {
        let mut items = Vec::new();
        while !self.eat("}") {
            let optional = self.eat("?");
            let key = self.expression()?;
            self.expect(":")?;
            items.push((optional, key, self.expression()?));
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(Node::Map(items))
    }

    fn object(&mut self, name: String, at: usize) -> Result<Node, String> {
        let mut fields = Vec::new();
        while !self.eat("}") {
            let optional = self.eat("?");
            let field = self.name()?;
            self.expect(":")?;
            fields.push((optional, field.into(), self.expression()?));
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(Node::Object(name.into(), fields, at))
    }

    fn call(
        &mut self,
        target: Option<Node>,
        name: &str,
        mut arguments: Vec<Node>,
        at: usize,
    ) -> Result<Node, String> {
        let count = arguments.len();
        match (&target, name, count) {
            (None, "has", 1) => {
                return match arguments.pop() {
                    Some(Node::Select(inner, field, false)) => Ok(Node::Has(inner, field)),
                    _ => self.fault("has() takes a field such as object.spec"),
                };
            }
            (Some(Node::Ident(space, _)), "bind", 3) if **space == *"cel" => {
                let (within, value, name) = (arguments.pop(), arguments.pop(), arguments.pop());
                let (Some(Node::Ident(name, _)), Some(value), Some(within)) = (name, value, within) else {
                    return self.fault("cel.bind takes a name, its value and an expression");
                };
                return Ok(Node::Bind(name, Box::new(value), Box::new(within)));
            }
            (Some(_), "optMap" | "optFlatMap", 2) => {
                let (within, local) = (arguments.pop(), arguments.pop());
                let (Some(target), Some(Node::Ident(local, _)), Some(within)) = (target, local, within)
                else {
                    return self.fault("optMap takes a name and an expression");
                };
                return Ok(Node::Optional(Box::new(target), local, Box::new(within), name == "optFlatMap"));
            }
            _ => {}
        }
        if let (Some(kind), Some(_)) = (loop_kind(name, count), &target)
            && matches!(arguments.first(), Some(Node::Ident(..)))
        {
            return self.looped(kind, target, arguments);
        }
        let pattern = match (name, arguments.first(), &target) {
            ("matches" | "find" | "findAll", Some(Node::Literal(Literal::Text(pattern))), Some(_)) => {
                Some(pattern)
            }
            _ => None,
        };
        let regex = pattern.map(|pattern| crate::meter::regex(pattern)).transpose();
        let regex = regex.or_else(|why| self.fault(&why))?;
        Ok(Node::Call(target.map(Box::new), name.into(), arguments, regex, at))
    }

    fn looped(&mut self, kind: LoopKind, target: Option<Node>, arguments: Vec<Node>) -> Result<Node, String> {
        let Some(over) = target else { return self.fault("there is nothing to go over") };
        let mut arguments = arguments.into_iter().peekable();
        let Some(Node::Ident(first, _)) = arguments.next() else {
            return self.fault("a variable's name is expected");
        };
        let two =
            matches!(kind, LoopKind::TransformList | LoopKind::TransformMap | LoopKind::TransformMapEntry)
                || (matches!(kind, LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne)
                    && arguments.len() == 2);
        let second = match (two, arguments.peek()) {
            (true, Some(Node::Ident(..))) => match arguments.next() {
                Some(Node::Ident(name, _)) => Some(name),
                _ => None,
            },
            (true, _) => return self.fault("a second variable's name is expected"),
            (false, _) => None,
        };
        let mut rest: Vec<Node> = arguments.collect();
        let last = rest.pop();
        let (condition, result) = match kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne | LoopKind::Filter => (last, None),
            _ => (rest.pop(), last),
        };
        Ok(Node::Loop(Box::new(Loop { over, kind, first, second, condition, result })))
    }
}

fn loop_kind(name: &str, count: usize) -> Option<LoopKind> {
    Some(match (name, count) {
        ("all", 2 | 3) => LoopKind::All,
        ("exists", 2 | 3) => LoopKind::Exists,
        ("exists_one" | "existsOne", 2 | 3) => LoopKind::ExistsOne,
        ("filter", 2) => LoopKind::Filter,
        ("map", 2 | 3) => LoopKind::Map,
        ("transformList", 3 | 4) => LoopKind::TransformList,
        ("transformMap", 3 | 4) => LoopKind::TransformMap,
        ("transformMapEntry", 3 | 4) => LoopKind::TransformMapEntry,
        ("sortBy", 2) => LoopKind::SortBy,
        _ => return None,
    })
}

/// The name that a chain of plain fields spells, which may be of a type.
fn dotted(node: &Node) -> Option<String> {
    match node {
        Node::Ident(name, _) => Some(name.to_string()),
        Node::Select(inner, field, false) => Some(format!("{}.{field}", dotted(inner)?)),
        _ => None,
    }
}
