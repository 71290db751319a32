//! Text: filter rules, requested names, session lines, setups, options.

use bstr::{BString, ByteSlice};
use rsync_proto::filter::{
    FilterNote, Filters, Grammar, ImpliedNames, NameReader, OpenFailure, ReceivedRules, RequestForwarder,
    RequestReader, RequestShape, RuleFile, RuleFiles, Side, Subject, Verdict, Wildcard, cvs_rules, sanitize,
};
use rsync_proto::meta::{Chmod, FakeStat};
use rsync_proto::options::{
    Command, Environment, LocalClock, Refusals, TransferOptions, endpoints, parse, parse_daemon_request,
};
use rsync_proto::session::{
    AlgorithmVariables, ArgumentReader, AuthDigest, Capabilities, ClientSetup, ConnectProxy, Entry, Greeting,
    LONG_LINE_LIMIT, ModuleRequest, Progress, Reply, ServerSetup, line, module_paths, parse_auth_answer,
    parse_listing_line, proxy_header, unescape_options,
};
use rsync_proto::text::{Charset, LineFormat, escape_log, escape_message, escape_name};
use rsync_proto::wire::Cursor;

use crate::{Choices, drive};

/// Gives every rule file the same text, a few times.
struct SameText<'a> {
    text: &'a [u8],
    left: usize,
}

impl RuleFiles for SameText<'_> {
    fn read(&mut self, _: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure> {
        self.left = self.left.checked_sub(1).ok_or(OpenFailure { reason: "enough".into() })?;
        Ok(self.text.to_vec())
    }

    fn note(&mut self, _: FilterNote) {}
}

/// Rules of every origin, then names against them. The first line is the name, the second a rule
/// file, the others are rules.
pub fn filters(data: &[u8]) {
    let mut choices = Choices(data);
    let kind = choices.byte();
    let negotiated = choices.negotiated();
    let mut lines = choices.rest().split(|&byte| byte == b'\n');
    let name = lines.next().unwrap_or_default();
    let file = lines.next().unwrap_or_default();
    let rest = lines.collect::<Vec<_>>().join(&b'\n');
    let mut files = SameText { text: file, left: 64 };
    let mut filters = if kind & 1 == 1 { Filters::for_module() } else { Filters::new() };
    filters.set_nul_lines(kind & 2 == 2);
    if kind & 4 == 4 {
        filters.set_delete_excluded();
    }
    filters.set_cvs(cvs_rules(kind & 8 == 8, Some(file), Some(name)));
    match kind >> 4 & 3 {
        0 => {
            let mut received = ReceivedRules::default();
            let mut rules: Vec<Vec<u8>> = Vec::new();
            drive(&rest, 1, |input| {
                let rule = received.decode(input)?.map(<[u8]>::to_vec);
                let more = rule.is_some();
                rules.extend(rule);
                Ok::<_, rsync_proto::filter::FilterError>(more)
            });
            let grammar = ReceivedRules::grammar(&negotiated);
            rules.iter().for_each(|rule| drop(filters.add_received(rule, grammar, &mut files)));
        }
        1 => drop(filters.add_words(&rest, Grammar::Full, &mut files)),
        2 => drop(filters.add_words(&rest, Grammar::Old(Verdict::Exclude), &mut files)),
        _ => rest.split(|&byte| byte == b'\n').for_each(|rule| drop(filters.add_filter(rule, &mut files))),
    }
    let mut out = Vec::new();
    for client_is_sender in [false, true] {
        let dialect = rsync_proto::filter::Dialect { negotiated: &negotiated, client_is_sender };
        let _ = dialect.encode(&filters, &mut out);
    }
    let start = filters.start(b"home/[x]*");
    let Ok(scanned) = start.scan_ancestors(&filters, b"a", &mut files) else { return };
    let Ok(inside) = scanned.enter(&filters, b"a", &mut files) else { return };
    for is_dir in [false, true] {
        for side in [Side::Sender, Side::Receiver] {
            let _ = filters.check(&inside, Subject::entry(name, is_dir), side);
            let _ = filters.excludes_path(&start, name, is_dir, side);
        }
        let _ = filters.check_while_deleting(&inside, Subject::entry(name, is_dir));
    }
    let _ = filters.check(&inside, Subject::xattr(name), Side::Sender);
    let wildcard = Wildcard::compile(file);
    assert!(!wildcard.matches(name) || wildcard.matches_from_any_component(name));
}

/// Requested names: file, forwarded list, implied patterns.
pub fn names(data: &[u8]) {
    let mut choices = Choices(data);
    let bits = choices.byte();
    let nul = bits & 1 == 1;
    let data = choices.rest();
    let read = |piece: usize| {
        let mut reader = NameReader::new(nul);
        let mut names: Vec<Vec<u8>> = Vec::new();
        data.chunks(piece.max(1)).for_each(|piece| reader.push(piece, |name| names.push(name.to_vec())));
        reader.finish(|name| names.push(name.to_vec()));
        names
    };
    let found = read(data.len());
    assert_eq!(read(1), found);
    let mut wire = Vec::new();
    let mut forwarder = RequestForwarder::new(nul);
    forwarder.push(data, &mut wire);
    forwarder.finish(&mut wire);
    drive(&wire, 5, |input| RequestReader::decode(input).map(|name| name.is_some()));
    drive(data, 1, |input| RequestReader::decode(input).map(|name| name.is_some()));
    let shape = RequestShape { relative: bits & 2 == 2, recursive: bits & 4 == 4, dirs: bits & 8 == 8 };
    let mut implied = ImpliedNames::default();
    for name in found.iter().take(16) {
        let clean = sanitize(name, bits & 16 == 16);
        assert!(clean.first() != Some(&b'/') && clean.split(|byte| *byte == b'/').all(|part| part != b".."));
        implied.add(name, shape);
    }
    for name in found.iter().take(16) {
        let _ = (implied.covers(name, true), implied.is_only_parent(name));
    }
}

/// The text phase of a daemon connection, and the headers in front of it.
pub fn session(data: &[u8]) {
    let mut lines = Vec::new();
    drive(data, 1, |input| {
        lines.push(line(input, LONG_LINE_LIMIT)?);
        Ok::<_, rsync_proto::session::LineError>(true)
    });
    for text in &lines {
        if let Ok(greeting) = Greeting::parse(text) {
            let agreed = greeting.agree(32);
            let _ = AuthDigest::choose(&greeting, agreed);
            let _ = greeting.render();
        }
        if let Err(refusal) = ModuleRequest::parse(text) {
            let _ = refusal.line();
        }
        let _ = (Reply::parse(text), parse_listing_line(text), Capabilities::parse(text));
        if let Some((user, response)) = parse_auth_answer(text) {
            let _ = AuthDigest::Md5.verifies(user, text, response);
        }
        let _ = ConnectProxy::parse(text);
    }
    let _ = proxy_header(&mut Cursor::new(data));
    for protocol in [29, 30] {
        let mut reader = ArgumentReader::first(protocol);
        let mut words = Vec::new();
        drive(data, 1, |input| {
            let word = reader.next(input)?;
            let more = word.is_some();
            words.extend(word);
            Ok::<_, rsync_proto::session::ArgumentError>(more)
        });
        unescape_options(&mut words);
        let _ = module_paths(&words, b"mod", protocol == 30);
    }
}

/// The binary setup, as client and as server.
pub fn setup(data: &[u8]) {
    let mut choices = Choices(data);
    let bits = choices.byte();
    let entry = if bits & 1 == 1 {
        Entry::Exchange
    } else {
        let agreed = i32::from(27 + choices.byte() % 6);
        Entry::Greeted { peer: agreed, agreed }
    };
    let mut transfer = TransferOptions { recurse: bits & 2 == 2, ..TransferOptions::default() };
    transfer.sender = bits & 4 == 4;
    transfer.client_capabilities = (bits & 8 == 8).then(|| ".LsfxCIvu".into());
    let data = choices.rest();
    let variables = AlgorithmVariables::default();
    if let Ok(mut client) = ClientSetup::new(entry, &transfer, bits & 16 == 16, &variables) {
        drive(data, 1, |input| client.advance(input).map(|progress| matches!(progress, Progress::Write(_))));
    }
    if let Ok(mut server) = ServerSetup::new(entry, &transfer, &variables, 7) {
        drive(data, 1, |input| server.advance(input).map(|progress| matches!(progress, Progress::Write(_))));
    }
}

/// Command lines of users, servers and daemon requests: words are separated by NUL.
pub fn options(data: &[u8]) {
    let mut choices = Choices(data);
    let daemon = choices.byte() & 1 == 1;
    let words: Vec<BString> = choices.rest().split(|&byte| byte == 0).take(64).map(BString::from).collect();
    let environment = Environment::from_variables(LocalClock::default(), |_| None);
    let command = if daemon {
        parse_daemon_request(&words, &environment, &Refusals::new("delete compress !recursive *-from", false))
    } else {
        parse(&words, &environment)
    };
    match command {
        Ok(Command::Transfer(request)) => {
            let _ = endpoints(&request.operands, &request.options);
            let mut chmod = Chmod::default();
            let appended = request.options.chmod.iter().all(|text| chmod.append(text).is_ok());
            if appended {
                let _ = chmod.apply(0o100_644, 0o022);
            }
        }
        Ok(Command::SecondList(pending)) => drop(pending.resume(&words)),
        Ok(_) | Err(_) => {}
    }
}

/// A daemon's configuration file, and what the command line overrides in it. Includes lead nowhere.
pub fn config(data: &[u8]) {
    let path = std::env::temp_dir().join(format!("rsync-fuzz-{}.conf", std::process::id()));
    let text = data.replace(b"&", b"");
    if std::fs::write(&path, text).is_err() {
        return;
    }
    let first = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if let Ok(config) = rsync_daemon::Config::load(&path, &[BString::from(first)]) {
        let _ = (config.module(first), config.module(b"m"));
    }
    let _ = rsync_daemon::Config::load(&path, &[]);
}

/// Texts that peers and files decide: escapes, line formats, fake attributes.
pub fn texts(data: &[u8]) {
    let mut out = Vec::new();
    for charset in [Charset::Utf8, Charset::Ascii] {
        escape_name(data, charset, &mut out);
        escape_message(data, charset, &mut out);
    }
    escape_log(data, &mut out);
    let _ = LineFormat::parse(data);
    if let Some(stat) = FakeStat::parse(data) {
        let text = stat.text();
        assert_eq!(FakeStat::parse(text.as_bytes()), Some(stat));
    }
}
