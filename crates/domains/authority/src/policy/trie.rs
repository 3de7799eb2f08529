//! Finds the globs that match a path, segment by segment, however many there are.

/// Globs by their segments.
#[derive(Debug)]
pub(super) struct Trie(Vec<Node>);

#[derive(Debug, Default)]
struct Node {
    /// Sorted by text.
    literals: Vec<(Box<str>, usize)>,
    /// Below `+`.
    any: Option<usize>,
    /// The glob that ends here.
    closed: Option<u32>,
    /// What the next segment may begin with, followed by anything; sorted by text.
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    text: Box<str>,
    glob: u32,
    /// The longest other text that this one begins with.
    parent: Option<usize>,
}

impl Trie {
    pub(super) fn new() -> Trie {
        Trie(vec![Node::default()])
    }

    /// Adds the glob made of `parts`, of which `None` is `+`. If it is open, its last part need only begin alike,
    /// and more segments may follow. No glob is added twice.
    pub(super) fn insert<'a>(&mut self, parts: impl Iterator<Item = Option<&'a str>>, open: bool, glob: u32) {
        let mut parts = parts.peekable();
        let mut at = 0;
        while let Some(part) = parts.next() {
            match part {
                Some(text) if open && parts.peek().is_none() => {
                    self.0[at].open.push(Open { text: text.into(), glob, parent: None });
                    return;
                }
                part => at = self.child(at, part),
            }
        }
        self.0[at].closed = Some(glob);
    }

    fn child(&mut self, at: usize, part: Option<&str>) -> usize {
        let new = self.0.len();
        let node = &mut self.0[at];
        let child = match part {
            None => *node.any.get_or_insert(new),
            Some(text) => match node.literals.binary_search_by(|(known, _)| (**known).cmp(text)) {
                Ok(found) => node.literals[found].1,
                Err(place) => {
                    node.literals.insert(place, (text.into(), new));
                    new
                }
            },
        };
        if child == new {
            self.0.push(Node::default());
        }
        child
    }

    /// Makes ready for [`Trie::visit`].
    pub(super) fn finish(mut self) -> Trie {
        for node in &mut self.0 {
            link(&mut node.open);
        }
        self
    }

    /// Calls back with every glob that matches, in no particular order.
    pub(super) fn visit(&self, path: &str, found: &mut impl FnMut(u32)) {
        self.walk(0, path, found);
    }

    /// Recurses only where a literal and `+` both match, hence no deeper than the longest rule.
    fn walk(&self, mut at: usize, mut path: &str, found: &mut impl FnMut(u32)) {
        loop {
            let node = &self.0[at];
            let (segment, rest) = path.split_once('/').map_or((path, None), |(one, rest)| (one, Some(rest)));
            node.visit_open(segment, found);
            let literal = node.literal(segment);
            let Some(rest) = rest else {
                let ends = |child: usize| self.0[child].closed;
                literal.and_then(ends).into_iter().chain(node.any.and_then(ends)).for_each(found);
                return;
            };
            path = rest;
            at = match (literal, node.any) {
                (None, None) => return,
                (Some(child), None) | (None, Some(child)) => child,
                (Some(child), Some(any)) => {
                    self.walk(any, rest, found);
                    child
                }
            };
        }
    }
}

impl Node {
    fn literal(&self, segment: &str) -> Option<usize> {
        let place = self.literals.binary_search_by(|(known, _)| (**known).cmp(segment)).ok()?;
        Some(self.literals[place].1)
    }

    fn visit_open(&self, segment: &str, found: &mut impl FnMut(u32)) {
        // Every text the segment begins with is the last one not after it, or what that one begins with.
        let after = self.open.partition_point(|open| *open.text <= *segment);
        let mut next = after.checked_sub(1);
        let mut matched = false;
        while let Some(open) = next.map(|index| &self.open[index]) {
            // What a matching text begins with matches too.
            matched = matched || segment.starts_with(&*open.text);
            if matched {
                found(open.glob);
            }
            next = open.parent;
        }
    }
}

fn link(open: &mut [Open]) {
    open.sort_by(|left, right| left.text.cmp(&right.text));
    for index in 1..open.len() {
        let mut parent = index.checked_sub(1);
        while let Some(at) = parent {
            if open[index].text.starts_with(&*open[at].text) {
                break;
            }
            parent = open[at].parent;
        }
        open[index].parent = parent;
    }
}
