//! The query language of the list: names, `AND`, `OR`, `NOT`, parentheses, `*`, `?`, and `field:value`.
//!
//! Terms beside one another must all match. A term without a field is about the name, and matches it
//! exactly or as a pattern.

use wildmatch::WildMatch;

/// What a query asks.
#[derive(Debug)]
pub struct Query(Node);

#[derive(Debug)]
enum Node {
    Everything,
    Term { field: Option<String>, value: WildMatch },
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
}

/// More terms than this no person writes.
const TERMS_MAX: usize = 1_024;
/// Parentheses in one another.
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Term { field: Option<String>, value: String },
}

impl Query {
    /// Reads a query. The error is what is wrong with it.
    pub fn parse(text: &str) -> Result<Query, String> {
        if text.trim().is_empty() || text.trim() == "*" {
            return Ok(Query(Node::Everything));
        }
        let tokens = tokens(text)?;
        let mut reader = Reader { tokens: &tokens, at: 0 };
        let node = reader.any(0)?;
        match reader.peek() {
            None => Ok(Query(node)),
            Some(Token::Close) => Err("a parenthesis is closed that was never opened".to_string()),
            Some(_) => Err("something is left over at its end".to_string()),
        }
    }

    /// Whether it asks about anything but names.
    pub fn needs_fields(&self) -> bool {
        fn asks(node: &Node) -> bool {
            match node {
                Node::Everything => false,
                Node::Term { field, .. } => field.as_deref().is_some_and(|field| !is_name(field)),
                Node::All(nodes) | Node::Any(nodes) => nodes.iter().any(asks),
                Node::Not(node) => asks(node),
            }
        }
        asks(&self.0)
    }

    /// Whether a policy matches. `field` returns every value of a field.
    pub fn matches(&self, name: &str, field: &dyn Fn(&str) -> Vec<String>) -> bool {
        fn matches(node: &Node, name: &str, values: &dyn Fn(&str) -> Vec<String>) -> bool {
            match node {
                Node::Everything => true,
                Node::Term { field: Some(field), value } if !is_name(field) => {
                    values(field).iter().any(|found| value.matches(found))
                }
                Node::Term { value, .. } => value.matches(name),
                Node::All(nodes) => nodes.iter().all(|node| matches(node, name, values)),
                Node::Any(nodes) => nodes.iter().any(|node| matches(node, name, values)),
                Node::Not(node) => !matches(node, name, values),
            }
        }
        matches(&self.0, name, field)
    }
}

fn is_name(field: &str) -> bool {
    matches!(field, "sm_policy.name" | "name")
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if tokens.len() > TERMS_MAX {
            return Err(format!("it has more than {TERMS_MAX} words"));
        }
        let taken = match first {
            '(' => {
                tokens.push(Token::Open);
                1
            }
            ')' => {
                tokens.push(Token::Close);
                1
            }
            '!' | '-' => {
                tokens.push(Token::Not);
                1
            }
            '+' => 1,
            '&' if rest.starts_with("&&") => {
                tokens.push(Token::And);
                2
            }
            '|' if rest.starts_with("||") => {
                tokens.push(Token::Or);
                2
            }
            '[' | '{' | '/' | '~' | '^' => return Err(format!("`{first}` asks for something this list cannot do")),
            _ => {
                let (token, taken) = term(rest)?;
                tokens.push(token);
                taken
            }
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

/// Reads a word, or a field and its value; returns how many bytes that took.
fn term(text: &str) -> Result<(Token, usize), String> {
    let (first, mut taken, quoted) = word(text)?;
    if !quoted {
        match first.as_str() {
            "AND" => return Ok((Token::And, taken)),
            "OR" => return Ok((Token::Or, taken)),
            "NOT" => return Ok((Token::Not, taken)),
            _ => {}
        }
    }
    if quoted || !text[taken..].starts_with(':') {
        return Ok((Token::Term { field: None, value: first }, taken));
    }
    let after = &text[taken + 1..];
    if after.starts_with(['[', '{', '>', '<', '(']) {
        return Err(format!("`{first}:` is followed by something this list cannot do; give one value"));
    }
    let (value, more, _) = word(after)?;
    taken += 1 + more;
    Ok((Token::Term { field: Some(first), value }, taken))
}

fn word(text: &str) -> Result<(String, usize, bool), String> {
    if let Some(inner) = text.strip_prefix('"') {
        let end = inner.find('"').ok_or("a quotation is not closed")?;
        return Ok((inner[..end].to_string(), end + 2, true));
    }
    let mut word = String::new();
    let mut taken = 0;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                taken += 1;
                let Some(plain) = letters.next() else { return Err("it ends in a backslash".to_string()) };
                word.push(plain);
                taken += plain.len_utf8();
            }
            ' ' | '\t' | '\n' | '\r' | '(' | ')' | ':' | '"' => break,
            _ => {
                word.push(letter);
                taken += letter.len_utf8();
            }
        }
    }
    if taken == 0 { Err("a value is missing".to_string()) } else { Ok((word, taken, false)) }
}

struct Reader<'t> {
    tokens: &'t [Token],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn any(&mut self, depth: usize) -> Result<Node, String> {
        let mut nodes = vec![self.all(depth)?];
        while self.peek() == Some(&Token::Or) {
            self.at += 1;
            nodes.push(self.all(depth)?);
        }
        Ok(one_or(nodes, Node::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Node, String> {
        let mut nodes = vec![self.one(depth)?];
        loop {
            match self.peek() {
                Some(Token::And) => self.at += 1,
                Some(Token::Open | Token::Not | Token::Term { .. }) => {}
                Some(Token::Or | Token::Close) | None => break,
            }
            nodes.push(self.one(depth)?);
        }
        Ok(one_or(nodes, Node::All))
    }

    fn one(&mut self, depth: usize) -> Result<Node, String> {
        if depth > DEPTH_MAX {
            return Err("its parentheses are too deep".to_string());
        }
        let token = self.peek().cloned();
        self.at += 1;
        match token {
            Some(Token::Not) => Ok(Node::Not(Box::new(self.one(depth + 1)?))),
            Some(Token::Open) => {
                let node = self.any(depth + 1)?;
                if self.peek() != Some(&Token::Close) {
                    return Err("a parenthesis is not closed".to_string());
                }
                self.at += 1;
                Ok(node)
            }
            Some(Token::Term { field: None, value }) if value == "*" => Ok(Node::Everything),
            Some(Token::Term { field, value }) => Ok(Node::Term { field, value: WildMatch::new(&value) }),
            Some(Token::And | Token::Or | Token::Close) | None => {
                Err("a word is missing before or after AND, OR or NOT".to_string())
            }
        }
    }
}

fn one_or(mut nodes: Vec<Node>, of: fn(Vec<Node>) -> Node) -> Node {
    if nodes.len() == 1 { nodes.remove(0) } else { of(nodes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn found(query: &str) -> String {
        let query = Query::parse(query).expect("a query");
        let policies = [("db", "true"), ("db-night", "false"), ("wiki", "true"), ("a b", "false")];
        let matching = policies.iter().filter(|(name, enabled)| {
            query.matches(name, &|field| {
                if field == "sm_policy.enabled" { vec![(*enabled).to_string()] } else { vec![] }
            })
        });
        matching.map(|(name, _)| *name).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn terms_are_exact_or_patterns_and_beside_one_another_must_all_match() {
        for (query, expected) in [
            ("*", "db,db-night,wiki,a b"),
            ("", "db,db-night,wiki,a b"),
            ("db", "db"),
            ("db*", "db,db-night"),
            ("d?", "db"),
            ("db OR wiki", "db,wiki"),
            ("db wiki", ""),
            ("db* AND *night", "db-night"),
            ("db* NOT db", "db-night"),
            ("-db*", "wiki,a b"),
            ("(db OR wiki) sm_policy.enabled:true", "db,wiki"),
            ("sm_policy.enabled:false", "db-night,a b"),
            ("sm_policy.name:wiki || db", "db,wiki"),
            ("\"a b\"", "a b"),
            ("a\\ b", "a b"),
            ("nothing.such:1", ""),
            ("db OR wiki db", "db"),
        ] {
            assert_eq!(found(query), expected, "{query}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_words() {
        for query in [
            "(",
            "db)",
            "db OR",
            "AND",
            "NOT",
            "\"db",
            "a:[1 TO 2]",
            "a:>3",
            "/x/",
            "a~ ^2",
            "db\\",
            "x:",
            &"(".repeat(99),
        ] {
            assert!(Query::parse(query).is_err(), "{query}");
        }
    }
}
