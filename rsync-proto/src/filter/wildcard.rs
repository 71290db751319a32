//! The wildcard language of filter patterns and daemon arguments, on bytes (spec 06 §4).
//!
//! A pattern is compiled once. Matching simulates all alternatives at once, so that its time is
//! bounded by text length times pattern length whatever the pattern says.

type Class = (&'static [u8], fn(u8) -> bool);

const CLASSES: [Class; 12] = [
    (b"alnum", |byte| byte.is_ascii_alphanumeric()),
    (b"alpha", |byte| byte.is_ascii_alphabetic()),
    (b"blank", |byte| byte == b' ' || byte == b'\t'),
    (b"cntrl", |byte| byte.is_ascii_control()),
    (b"digit", |byte| byte.is_ascii_digit()),
    (b"graph", |byte| byte.is_ascii_graphic()),
    (b"lower", |byte| byte.is_ascii_lowercase()),
    (b"print", |byte| byte == b' ' || byte.is_ascii_graphic()),
    (b"punct", |byte| byte.is_ascii_punctuation()),
    (b"space", |byte| byte == 0x0b || byte.is_ascii_whitespace()),
    (b"upper", |byte| byte.is_ascii_uppercase()),
    (b"xdigit", |byte| byte.is_ascii_hexdigit()),
];

/// Words of active states for short patterns and for the longest (4096 tokens).
const SHORT_WORDS: usize = 1;
const LONG_WORDS: usize = super::MAX_PATH / 64 + 1;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// Any byte but `/`.
    One,
    /// A byte of the set with this index.
    Set(usize),
    /// Any bytes but `/`.
    Star,
    /// Any bytes.
    DoubleStar,
}

/// A 256-bit set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ByteSet([u64; 4]);

impl ByteSet {
    fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn remove(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] &= !(1 << (byte & 63));
    }

    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }
}

/// A compiled wildcard pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard {
    /// The tokens before `tail`; no two stars are neighbours.
    tokens: Box<[Token]>,
    /// Number of leading tokens that are plain bytes.
    head: usize,
    /// The literal bytes every match ends in.
    tail: Box<[u8]>,
    sets: Box<[ByteSet]>,
    /// Malformed patterns match nothing, not even themselves.
    never: bool,
}

impl Wildcard {
    /// Whether `pattern` means more than its own text: it has a `*`, `?` or `[`.
    #[must_use]
    pub fn is_wild(pattern: &[u8]) -> bool {
        pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
    }

    /// Compiles `pattern`. Malformed and over-long (4096 bytes) ones compile to something that
    /// never matches.
    #[must_use]
    pub fn compile(pattern: &[u8]) -> Self {
        Self::compile_beneath(b"", pattern)
    }

    /// Compiles `pattern` preceded by the literal text `directory`.
    #[must_use]
    pub fn compile_beneath(directory: &[u8], pattern: &[u8]) -> Self {
        let mut compiler = Compiler { tokens: Vec::new(), sets: Vec::new() };
        compiler.tokens.extend(directory.iter().map(|&byte| Token::Byte(byte)));
        let complete = pattern.len() < super::MAX_PATH && compiler.run(pattern).is_some();
        let Compiler { mut tokens, sets } = compiler;
        let head = tokens.iter().take_while(|token| matches!(token, Token::Byte(_))).count();
        let mut tail = Vec::new();
        while tokens.len() > head {
            let Some(&Token::Byte(byte)) = tokens.last() else { break };
            tail.push(byte);
            tokens.pop();
        }
        tail.reverse();
        Self { tokens: tokens.into(), head, tail: tail.into(), sets: sets.into(), never: !complete }
    }

    /// Whether the pattern matches the whole of `text`.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let Some(body) = self.body(text) else { return false };
        let (head, rest) = self.tokens.split_at(self.head);
        let Some((start, middle)) = body.split_at_checked(self.head) else { return false };
        if !start.iter().zip(head).all(|(&byte, token)| *token == Token::Byte(byte)) {
            return false;
        }
        match rest {
            [] => middle.is_empty(),
            [Token::Star] => !middle.contains(&b'/'),
            [Token::DoubleStar] => true,
            _ => self.simulate(rest, middle, false),
        }
    }

    /// Whether the pattern matches `text` or any part of it that follows a `/` up to the end.
    #[must_use]
    pub fn matches_from_any_component(&self, text: &[u8]) -> bool {
        self.body(text).is_some_and(|body| self.simulate(&self.tokens, body, true))
    }

    fn body<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        if self.never { None } else { text.strip_suffix(&*self.tail) }
    }

    fn simulate(&self, tokens: &[Token], text: &[u8], restart: bool) -> bool {
        if tokens.len() < SHORT_WORDS * 64 {
            self.run::<SHORT_WORDS>(tokens, text, restart)
        } else if tokens.len() < LONG_WORDS * 64 {
            self.run::<LONG_WORDS>(tokens, text, restart)
        } else {
            self.run::<{ 2 * LONG_WORDS }>(tokens, text, restart)
        }
    }

    /// State `i` is active when the first `i` tokens match what was read so far.
    fn run<const WORDS: usize>(&self, tokens: &[Token], text: &[u8], restart: bool) -> bool {
        if tokens.len() >= WORDS * 64 {
            return false;
        }
        let mut active = [0_u64; WORDS];
        activate(&mut active, tokens, 0);
        for (position, &byte) in text.iter().enumerate() {
            if restart && position > 0 && text[position - 1] == b'/' {
                activate(&mut active, tokens, 0);
            }
            let mut next = [0_u64; WORDS];
            for (word, &states) in active.iter().enumerate() {
                let mut bits = states;
                while bits != 0 {
                    let state = word * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    match tokens.get(state) {
                        Some(Token::Star) if byte != b'/' => activate(&mut next, tokens, state),
                        Some(Token::DoubleStar) => activate(&mut next, tokens, state),
                        Some(token) if self.accepts(token, byte) => activate(&mut next, tokens, state + 1),
                        _ => {}
                    }
                }
            }
            active = next;
            if !restart && active == [0; WORDS] {
                return false;
            }
        }
        if restart && text.last() == Some(&b'/') {
            activate(&mut active, tokens, 0);
        }
        active[tokens.len() / 64] >> (tokens.len() % 64) & 1 == 1
    }

    fn accepts(&self, token: &Token, byte: u8) -> bool {
        match token {
            Token::Byte(expected) => *expected == byte,
            Token::One => byte != b'/',
            Token::Set(index) => self.sets.get(*index).is_some_and(|set| set.contains(byte)),
            Token::Star | Token::DoubleStar => false,
        }
    }
}

fn activate<const WORDS: usize>(states: &mut [u64; WORDS], tokens: &[Token], state: usize) {
    states[state / 64] |= 1 << (state % 64);
    if matches!(tokens.get(state), Some(Token::Star | Token::DoubleStar)) {
        states[(state + 1) / 64] |= 1 << ((state + 1) % 64);
    }
}

struct Compiler {
    tokens: Vec<Token>,
    sets: Vec<ByteSet>,
}

impl Compiler {
    /// `None` when the pattern is malformed.
    fn run(&mut self, pattern: &[u8]) -> Option<()> {
        let mut rest = pattern;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'?' => self.tokens.push(Token::One),
                b'[' => {
                    let (set, after) = parse_set(rest)?;
                    self.tokens.push(Token::Set(self.sets.len()));
                    self.sets.push(set);
                    rest = after;
                }
                b'*' => {
                    let more = rest.iter().take_while(|&&byte| byte == b'*').count();
                    rest = &rest[more..];
                    self.tokens.push(if more == 0 { Token::Star } else { Token::DoubleStar });
                }
                b'\\' => {
                    let (&literal, after) = rest.split_first()?;
                    self.tokens.push(Token::Byte(literal));
                    rest = after;
                }
                _ => self.tokens.push(Token::Byte(byte)),
            }
        }
        Some(())
    }
}

/// Parses what follows a `[`, and returns the set with the text after its `]`.
fn parse_set(text: &[u8]) -> Option<(ByteSet, &[u8])> {
    let (negated, mut rest) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut set = ByteSet::default();
    let mut previous = None;
    let mut first = true;
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match (byte, previous, after) {
            (b']', _, _) if !first => break,
            (b'-', Some(low), &[next, ..]) if next != b']' => {
                let (high, after) = literal(after)?;
                (low..=high).for_each(|member| set.insert(member));
                rest = after;
                previous = None;
            }
            (b'\\', _, _) => {
                let (&member, after) = rest.split_first()?;
                set.insert(member);
                rest = after;
                previous = Some(member);
            }
            (b'[', _, [b':', name @ ..]) => {
                let end = name.iter().position(|&byte| byte == b']')?;
                if let Some(name_only) = name[..end].strip_suffix(b":") {
                    let (_, class) = CLASSES.iter().find(|(known, _)| *known == name_only)?;
                    (0..=u8::MAX).filter(|&member| class(member)).for_each(|member| set.insert(member));
                    rest = &name[end + 1..];
                    previous = None;
                } else {
                    set.insert(b'[');
                    previous = Some(b'[');
                }
            }
            _ => {
                set.insert(byte);
                previous = Some(byte);
            }
        }
        first = false;
    }
    if negated {
        set.0.iter_mut().for_each(|word| *word = !*word);
    }
    set.remove(b'/');
    Some((set, rest))
}

fn literal(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'\\', byte, rest @ ..] => Some((*byte, rest)),
        [b'\\'] | [] => None,
        [byte, rest @ ..] => Some((*byte, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wild(pattern: &str, text: &str) -> bool {
        Wildcard::compile(pattern.as_bytes()).matches(text.as_bytes())
    }

    /// The definition, by plain recursion; exponential, for short texts only.
    fn reference(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', b'*', ..] => {
                let stars = pattern.iter().take_while(|&&byte| byte == b'*').count();
                (0..=text.len()).any(|skip| reference(&pattern[stars..], &text[skip..]))
            }
            [b'*', rest @ ..] => {
                let reach = text.iter().take_while(|&&byte| byte != b'/').count();
                (0..=reach).any(|skip| reference(rest, &text[skip..]))
            }
            [b'?', rest @ ..] => {
                text.split_first().is_some_and(|(&byte, text)| byte != b'/' && reference(rest, text))
            }
            [byte, rest @ ..] => {
                text.split_first().is_some_and(|(first, text)| first == byte && reference(rest, text))
            }
        }
    }

    #[test]
    fn a_hostile_pattern_takes_bounded_time() {
        let pattern = b"a**?*".repeat(800);
        let text = vec![b'a'; 4000];
        let compiled = Wildcard::compile(&[&pattern[..], b"x**b*"].concat());
        let started = std::time::Instant::now();
        assert!(!compiled.matches(&text));
        assert!(!compiled.matches_from_any_component(&text));
        assert!(started.elapsed().as_secs() < 20);
    }

    #[test]
    fn a_star_stops_at_a_slash_and_two_do_not() {
        assert!(wild("a*c", "abbc"));
        assert!(!wild("a*c", "ab/c"));
        assert!(wild("a**c", "ab/c"));
        assert!(wild("**", ""));
        assert!(!wild("a**/b", "a"));
    }

    #[test]
    fn an_unclosed_set_matches_nothing_not_even_itself() {
        assert!(!wild("a[b", "a[b"));
        assert!(!wild("a[[:nope:]]", "a["));
        assert!(wild("[[:a]", ":"));
    }

    #[test]
    fn any_component_may_start_a_match() {
        let compiled = Wildcard::compile(b"b/**/d");
        assert!(compiled.matches_from_any_component(b"a/b/c/d"));
        assert!(!compiled.matches_from_any_component(b"ab/c/d"));
    }

    proptest! {
        #[test]
        fn the_simulation_agrees_with_the_definition(pattern in "[ab/*?]{0,8}", text in "[ab/]{0,10}") {
            prop_assert_eq!(wild(&pattern, &text), reference(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn no_pattern_panics(pattern in proptest::collection::vec(any::<u8>(), 0..200), text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let compiled = Wildcard::compile(&pattern);
            let _ = compiled.matches(&text);
            let _ = compiled.matches_from_any_component(&text);
        }
    }
}
