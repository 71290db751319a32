use bstr::BString;
use proptest::prelude::*;

use super::*;
use crate::delta::CompressionKind;
use crate::options::{Command, Environment, parse};
use crate::sum::Checksum;
use crate::wire::NeedsInput;

/// Options of a command line, the client's or the server's.
fn options(line: &str) -> TransferOptions {
    let words: Vec<BString> = line.split(' ').map(BString::from).collect();
    match parse(&words, &Environment::default()) {
        Ok(Command::Transfer(request)) => request.options,
        other => panic!("{line}: {other:?}"),
    }
}

fn variables(checksum: &str, compress: &str) -> AlgorithmVariables {
    let text = |text: &str| (!text.is_empty()).then(|| BString::from(text));
    AlgorithmVariables { checksum: text(checksum), compress: text(compress) }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

/// Runs a half against recorded bytes, and answers what it wrote until it was done.
fn run(
    mut advance: impl FnMut(&mut Cursor<'_>) -> Result<Progress, SetupError>,
    mut input: &[u8],
) -> Result<(Vec<u8>, Negotiated), SetupError> {
    let mut written = Vec::new();
    loop {
        let mut cursor = Cursor::new(input);
        let progress = advance(&mut cursor)?;
        input = &input[cursor.position()..];
        match progress {
            Progress::Write(bytes) => written.extend(bytes),
            Progress::Done(negotiated) => return Ok((written, *negotiated)),
        }
    }
}

fn server(line: &str, input: &[u8], entry: Entry) -> Result<(Vec<u8>, Negotiated), SetupError> {
    let mut setup = ServerSetup::new(entry, &options(line), &variables("", ""), 1000)?;
    run(|input| setup.advance(input), input)
}

fn client(line: &str, receiving: bool, input: &[u8]) -> Result<(Vec<u8>, Negotiated), SetupError> {
    let mut setup = ClientSetup::new(Entry::Exchange, &options(line), receiving, &variables("", ""))?;
    run(|input| setup.advance(input), input)
}

const GREETED: Entry = Entry::Greeted { peer: 32, agreed: 32 };
const CLIENT_CHECKSUMS: &str = "1e 7878683132382078786833207878683634206d6435206d64342073686131";
const CLIENT_COMPRESSIONS: &str = "13 7a737464206c7a34207a6c696278207a6c6962";
const SERVER_CHECKSUMS: &str = "23 7878683132382078786833207878683634206d6435206d64342073686131206e6f6e65";
const SERVER_COMPRESSIONS: &str = "18 7a737464206c7a34207a6c696278207a6c6962206e6f6e65";

#[test]
fn a_compressed_pull_is_set_up_as_recorded() {
    let from_client = hex(&format!("20000000 {CLIENT_CHECKSUMS} {CLIENT_COMPRESSIONS}"));
    let from_server = hex(&format!("20000000 81ff {SERVER_CHECKSUMS} {SERVER_COMPRESSIONS} e8030000"));
    let line = "--server --sender -logDtprze.iLsfxCIvu --checksum-seed=1000 . src/";
    let (written, at_server) = server(line, &from_client, Entry::Exchange).expect("server");
    assert_eq!(written, from_server);
    let (written, at_client) =
        client("-az --checksum-seed=1000 h:src/ dst/", true, &from_server).expect("client");
    assert_eq!(written, from_client);
    assert_eq!(at_client, at_server);
    assert_eq!((at_client.protocol(), at_client.seed), (32, 1000));
    assert_eq!(at_client.checksum.transfer, Checksum::Xxh128);
    assert_eq!(
        at_client.compression.map(|chosen| (chosen.kind, chosen.level)),
        Some((CompressionKind::Zstd, 3))
    );
}

#[test]
fn an_old_push_has_neither_flags_nor_lists() {
    let from_server = hex("20000000 e8030000");
    let (written, at_server) =
        server("--server -logDtpr --delete --checksum-seed=1000 . dst/", &hex("1d000000"), Entry::Exchange)
            .expect("server");
    assert_eq!(written, from_server);
    let (written, at_client) =
        client("-a --protocol=29 --delete src/ h:dst/", false, &from_server).expect("client");
    assert_eq!(written, hex("1d000000"));
    assert_eq!(at_client, at_server);
    assert_eq!(at_client.checksum.transfer, Checksum::OldMd4);
}

#[test]
fn a_chosen_checksum_is_not_negotiated() {
    let (written, negotiated) =
        client("-a --cc=md5 src/ h:dst/", false, &hex("20000000 81ff e8030000")).expect("client");
    assert_eq!(written, hex("20000000"));
    assert_eq!(negotiated.checksum.transfer, Checksum::Md5);
    let input = hex(&format!("20000000 {CLIENT_COMPRESSIONS}"));
    let line = "--server --sender -logDtprze.iLsfxCIvu --checksum-choice=md5 . src/";
    let (written, _) = server(line, &input, Entry::Exchange).expect("server");
    assert_eq!(written, hex(&format!("20000000 81ff {SERVER_COMPRESSIONS} e8030000")));
}

#[test]
fn capability_letters_become_the_recorded_flag_bytes() {
    for (letters, flags) in [
        ("-re.iLsfxCIvu", "81ff"),
        ("-re.LsfxCIvu", "81fe"),
        ("-re.iLsfxC", "3f"),
        ("-r", "06"),
        ("-re.C", "26"),
        ("-re.u", "8106"),
        ("-re.v", "8086"),
        ("-re.iLsfxCIVu", "ff"),
    ] {
        let lists = hex(CLIENT_CHECKSUMS);
        let (written, _) =
            server(&format!("--server --sender {letters} . m/"), &lists, GREETED).expect(letters);
        assert_eq!(&written[..hex(flags).len()], hex(flags), "{letters}");
    }
}

#[test]
fn a_server_allows_recursion_only_where_its_options_do() {
    for (line, flags) in [
        ("--server -re.iLsfxC --delete-after . d", "3e"),
        ("--server --sender -re.iLsfxC --delete-after . d", "3f"),
        ("--server --sender -de.iLsfxC . d", "3e"),
    ] {
        assert_eq!(server(line, b"", GREETED).expect(line).0[..1], hex(flags), "{line}");
    }
}

#[test]
fn a_pre_release_client_is_met_one_protocol_lower() {
    let (written, negotiated) =
        server("--server --sender -re31.14iLsfxC . d", &hex("1e000000"), Entry::Exchange).expect("server");
    assert_eq!((&written[..4], negotiated.protocol()), (&hex("1e000000")[..], 30));
}

#[test]
fn versions_out_of_range_are_refused() {
    for peer in [19, 26, 41, -1, 0x6f6c_6c65] {
        let error = client("-a h:s d", true, &i32::to_le_bytes(peer)).expect_err("refused");
        assert_eq!(error, SetupError::VersionMismatch { peer });
        assert_eq!(error.exit_code().code(), 2);
    }
    let greeted = |peer, agreed| server("--server --sender -r . d", b"", Entry::Greeted { peer, agreed });
    assert_eq!(greeted(45, 32), Err(SetupError::VersionMismatch { peer: 45 }));
    assert_eq!(greeted(19, 19), Err(SetupError::VersionMismatch { peer: 19 }));
    assert_eq!(greeted(35, 32).map(|found| found.1.protocol()), Ok(32));
}

#[test]
fn options_are_checked_against_the_protocol() {
    for (line, version, text) in [
        ("-aA h:s d", 29, "--acls requires protocol 30 or higher (negotiated 29)."),
        ("-aX h:s d", 28, "--xattrs requires protocol 30 or higher (negotiated 28)."),
        ("-ay h:s d", 28, "--fuzzy requires protocol 29 or higher (negotiated 28)."),
        (
            "-a --inplace --link-dest=x h:s d",
            28,
            "--link-dest with --inplace requires protocol 29 or higher (negotiated 28).",
        ),
        (
            "-a --link-dest=x --link-dest=y h:s d",
            28,
            "Using more than one --link-dest option requires protocol 29 or higher (negotiated 28).",
        ),
        ("-am h:s d", 28, "--prune-empty-dirs requires protocol 29 or higher (negotiated 28)."),
    ] {
        let error = client(line, true, &i32::to_le_bytes(version)).expect_err(line);
        assert_eq!((error.to_string().as_str(), error.exit_code().code()), (text, 2));
    }
}

#[test]
fn recursion_that_was_not_offered_is_refused() {
    let error = client("-a --no-i-r h:s d", true, &hex("20000000 01")).expect_err("refused");
    assert_eq!((error.clone(), error.exit_code().code()), (SetupError::UnofferedRecursion, 1));
}

#[test]
fn lists_without_a_common_name_end_the_session() {
    let input = [hex("20000000 81ff"), b"\x07foo bar".to_vec()].concat();
    let error = client("-a h:s d", true, &input).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "Failed to negotiate a checksum choice.\nServer list: foo bar\nClient list: xxh128 xxh3 xxh64 md5 md4 sha1"
    );
    assert_eq!(error.exit_code().code(), 4);
    let long = [hex("20000000 81ff 8100"), vec![b'x'; 256]].concat();
    let error = client("-a h:s d", true, &long).expect_err("refused");
    assert!(error.to_string().starts_with("over-long vstring received (256 > 255)\nFailed to negotiate"));
    assert_eq!(error.exit_code().code(), 4);
}

#[test]
fn a_reordered_list_is_answered_with_the_choice_alone() {
    let input = hex(&format!("20000000 81ff {SERVER_CHECKSUMS} e8030000"));
    let mut setup =
        ClientSetup::new(Entry::Exchange, &options("-a h:s d"), true, &variables("md5 xxh64", ""))
            .expect("setup");
    let (written, negotiated) = run(|input| setup.advance(input), &input).expect("client");
    assert_eq!(written, [hex("20000000"), b"\x03md5".to_vec()].concat());
    assert_eq!(negotiated.checksum.transfer, Checksum::Md5);
}

#[test]
fn the_client_s_order_decides_at_the_server() {
    let (_, negotiated) = server("--server --sender -re.v . d", b"\x09md5 xxh64", GREETED).expect("server");
    assert_eq!(negotiated.checksum.transfer, Checksum::Md5);
}

#[test]
fn an_environment_may_exclude_what_is_implied_or_chosen() {
    let mut setup = ClientSetup::new(Entry::Exchange, &options("-a h:s d"), true, &variables("xxh64", ""))
        .expect("setup");
    let error = run(|input| setup.advance(input), &hex("1d000000")).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "Failed to negotiate a checksum choice.\nServer list: md4\nClient list: xxh64"
    );
    let line = "--server --sender -re.v --checksum-choice=md5 . d";
    let error = ServerSetup::new(GREETED, &options(line), &variables("xxh64", ""), 1).expect_err("refused");
    assert_eq!(error.to_string(), "Your --checksum-choice value (md5) was refused by the server.");
}

#[test]
fn an_empty_level_of_deflate_turns_compression_off() {
    let line = "--server --sender -re.v --checksum-choice=md5 --compress-level=0 --new-compress . d";
    assert_eq!(server(line, b"", GREETED).expect("server").1.compression, None);
}

#[test]
fn announced_timeouts_only_shorten() {
    for (own, announced, result) in
        [(0, 77, 77), (60, 77, 60), (90, 77, 77), (60, 0, 60), (60, -1, 60), (0, 86_401, 0)]
    {
        assert_eq!(shortened_timeout(own, announced), result);
    }
}

proptest! {
    /// Both halves over pipes of one byte, with any options and lists, agree or both complain.
    #[test]
    fn the_two_halves_agree(
        compress in any::<bool>(),
        old in 27_i32..=32,
        ours in "((md5|xxh64|none|sha1)( |&)){0,4}",
    ) {
        let z = if compress { "z" } else { "" };
        let e = if old >= 30 { "e.iLsfxCIvu" } else { "" };
        let client_options = options(&format!("-a{z} --protocol={old} h:s d"));
        let server_options = options(&format!("--server --sender -logDtpr{z}{e} . s"));
        let list = variables(&ours, "");
        let mut client = ClientSetup::new(Entry::Exchange, &client_options, true, &list).expect("client");
        let mut server = ServerSetup::new(Entry::Exchange, &server_options, &list, 7).expect("server");
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        let (mut at_client, mut at_server) = (None, None);
        for _ in 0..2000 {
            let step = |advance: &mut dyn FnMut(&mut Cursor<'_>) -> Result<Progress, SetupError>,
                            inbox: &mut Vec<u8>, outbox: &mut Vec<u8>, done: &mut Option<Result<Negotiated, SetupError>>| {
                if done.is_some() { return }
                let mut cursor = Cursor::new(inbox);
                match advance(&mut cursor) {
                    Ok(Progress::Write(bytes)) => { let used = cursor.position(); inbox.drain(..used); outbox.extend(bytes) }
                    Ok(Progress::Done(negotiated)) => *done = Some(Ok(*negotiated)),
                    Err(error) if error.missing().is_some() => {}
                    Err(error) => *done = Some(Err(error)),
                }
            };
            step(&mut |input| client.advance(input), &mut to_client, &mut to_server, &mut at_client);
            step(&mut |input| server.advance(input), &mut to_server, &mut to_client, &mut at_server);
        }
        match (at_client, at_server) {
            (Some(Ok(client)), Some(Ok(server))) => prop_assert_eq!(client, server),
            (client, server) => {
                let failed = matches!(client, Some(Err(_))) || matches!(server, Some(Err(_)));
                prop_assert!(failed, "stuck: {:?} {:?}", client, server);
            }
        }
    }
}
