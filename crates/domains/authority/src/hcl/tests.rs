use super::*;
use proptest::prelude::*;

/// A tree as text, positions left out: what the tests compare.
fn shown(object: &Object) -> String {
    let items: Vec<String> = object
        .items
        .iter()
        .map(|item| {
            let keys: Vec<String> = item.keys.iter().map(|key| format!("{:?}", key.text)).collect();
            format!("{}={}", keys.join(" "), shown_value(&item.value))
        })
        .collect();
    format!("{{{}}}", items.join(" "))
}

fn shown_value(value: &Value) -> String {
    match &value.kind {
        Kind::String(text) => format!("{text:?}"),
        Kind::Int(value, _) => format!("{value}"),
        Kind::Float(value, _) => format!("{value:?}"),
        Kind::Bool(value) => format!("{value}"),
        Kind::List(values) => format!("[{}]", values.iter().map(shown_value).collect::<Vec<_>>().join(" ")),
        Kind::Object(object) => shown(object),
    }
}

#[track_caller]
fn reads(text: &str, tree: &str) {
    match parse(text) {
        Ok(object) => assert_eq!(shown(&object), format!("{{{tree}}}"), "{text}"),
        Err(error) => panic!("{error}\n{text}"),
    }
}

#[track_caller]
fn refuses(text: &str, line: u32, column: u32, what: &str) {
    let error = parse(text).expect_err(text);
    assert_eq!((error.at, error.what.as_str()), (Position { line, column }, what), "{text}");
    assert!(!error.remedy.is_empty());
}

#[test]
fn attributes_and_blocks_in_every_layout() {
    reads("", "");
    reads("# nothing\n", "");
    reads("a = 1", r#""a"=1"#);
    reads("a = 1 b = 2", r#""a"=1 "b"=2"#);
    reads("a = 1, b = 2,", r#""a"=1 "b"=2"#);
    reads(
        r#"path "x" { capabilities = ["read"] denied = true }"#,
        r#""path" "x"={"capabilities"=["read"] "denied"=true}"#,
    );
    reads(r#"path "x" { a = "1", b = "2" }"#, r#""path" "x"={"a"="1" "b"="2"}"#);
    reads(r#""a" = 1"#, r#""a"=1"#);
    reads(r#""path" "x" { "a" = 1 }"#, r#""path" "x"={"a"=1}"#);
    reads(
        r#"path "x" { allowed_parameters = { "*" = [] "b" = [1] } }"#,
        r#""path" "x"={"allowed_parameters"={"*"=[] "b"=[1]}}"#,
    );
    reads(r#"path "x" { "allowed" { "k" = [] } }"#, r#""path" "x"={"allowed"={"k"=[]}}"#);
    reads("o = { a = 1 b = 2 }", r#""o"={"a"=1 "b"=2}"#);
    reads("o = { a = 1, b = 2, }", r#""o"={"a"=1 "b"=2}"#);
    reads("key {}", r#""key"={}"#);
    reads("key\n{\n}", r#""key"={}"#);
    reads("a {} b {} c \"d\" e {}", r#""a"={} "b"={} "c" "d" "e"={}"#);
    reads("a = 1\na = 2", r#""a"=1 "a"=2"#);
    reads("a.b-c.d = 1", r#""a.b-c.d"=1"#);
    reads("ключ = \"é\"", r#""ключ"="é""#);
    reads("a=1b=2", r#""a"=1 "b"=2"#);
    reads("\u{feff}a = 1\r\nb = 2\r\n", r#""a"=1 "b"=2"#);
}

#[test]
fn comments_anywhere() {
    reads("// a\n# b\n/* c\n d */ a /* e */ = /* f */ 1 // g\nb = 2 # h", r#""a"=1 "b"=2"#);
    reads("path \"x\" { a = 1 // one\n b = [1, # two\n 2 /* three */] }", r#""path" "x"={"a"=1 "b"=[1 2]}"#);
    reads("/**/a = 1 /***/", r#""a"=1"#);
    reads("a = \"# // /* no comment\"", r##""a"="# // /* no comment""##);
}

#[test]
fn numbers() {
    reads("a = 0644", r#""a"=420"#);
    reads("a = -0644", r#""a"=-420"#);
    reads("a = 0x1F b = -0Xff", r#""a"=31 "b"=-255"#);
    reads("a = 0 b = -0 c = 00", r#""a"=0 "b"=0 "c"=0"#);
    reads(
        "a = 1.5 b = -0.25 c = 1e3 d = 2.5E-1 e = .5 f = 1.",
        r#""a"=1.5 "b"=-0.25 "c"=1000.0 "d"=0.25 "e"=0.5 "f"=1.0"#,
    );
    reads(
        "a = 9223372036854775807 b = -9223372036854775808",
        r#""a"=9223372036854775807 "b"=-9223372036854775808"#,
    );
    refuses("a = 9223372036854775808", 1, 5, "`9223372036854775808` is not a number of 64 bits");
    refuses("a = 08", 1, 5, "`08` is not a number of 64 bits");
    refuses("a = 0x", 1, 5, "`0x` is not a number of 64 bits");
    refuses("a = 1e", 1, 5, "`1e` is not a number of 64 bits");
    refuses("a = 1e999", 1, 5, "`1e999` is not a number of 64 bits");
    refuses("a = -", 1, 5, "`-` is not a number of 64 bits");
    refuses("a = -.5", 1, 5, "`-.5` is not a number of 64 bits");
}

#[test]
fn strings() {
    reads(r#"a = "x\n\t\"\\\a\b\f\r\v""#, r#""a"="x\n\t\"\\\u{7}\u{8}\u{c}\r\u{b}""#);
    reads(r#"a = "\x41\101\u00e9\U0001F600\xc3\xa9""#, r#""a"="AAé😀é""#);
    reads(r#"path "secret/${identity.name}/*" {}"#, r#""path" "secret/${identity.name}/*"={}"#);
    reads(r#"a = "${ f("x", {}) } \" ${b}""#, r#""a"="${ f(\"x\", {}) } \" ${b}""#);
    reads("a = \"${\n}\"", r#""a"="${\n}""#);
    reads(r#"a = "%{ if } $ {} {{identity.entity.id}}""#, r#""a"="%{ if } $ {} {{identity.entity.id}}""#);
    refuses("a = \"x\nb = 1", 1, 5, "the string that begins here has no end on its line");
    refuses("a = \"${x\"", 1, 5, "the `${` at line 1, column 7 has no `}`");
    refuses(r#"a = "x\q""#, 1, 7, "this backslash begins no known escape");
    refuses(r#"a = "\400""#, 1, 6, "this backslash begins no known escape");
    refuses(r#"a = "\ud800""#, 1, 6, "this backslash begins no known escape");
    refuses(r#"a = "\xff""#, 1, 5, "the `\\x` or octal escapes of this string do not form UTF-8");
    refuses("a = 'x'", 1, 5, "unexpected `'`");
}

#[test]
fn heredocs() {
    reads("a = <<EOF\none\n  two\nEOF\nb = 1", r#""a"="one\n  two\n" "b"=1"#);
    reads("a = <<-EOF\n    one\n      two\n    EOF\n", r#""a"="one\n  two\n""#);
    reads("a = <<-EOF\n  one\n\n    EOF\n", r#""a"="  one\n\n""#);
    reads("a = <<-EOF\n  one\nEOF\n  EOF\n", r#""a"="  one\nEOF\n""#);
    refuses("a = <<-EOF\none\nEOF\n", 1, 5, "the heredoc that begins here has no line `EOF`");
    reads("a = <<EOF\r\none\r\nEOF\r\n", r#""a"="one\n""#);
    reads("a = <<EOF\nEOF\n", r#""a"="""#);
    reads("a = [<<EOF\nx \"${ EOFX\nEOF\n, 2]", r#""a"=["x \"${ EOFX\n" 2]"#);
    refuses("a = <<EOF\nx\nEOF", 1, 5, "the heredoc that begins here has no line `EOF`");
    refuses(
        "a = << EOF\nx\nEOF\n",
        1,
        5,
        "a heredoc begins with `<<` or `<<-`, one word, and the end of the line",
    );
    refuses("a = <EOF\n", 1, 5, "a single `<` means nothing");
}

#[test]
fn lists() {
    reads("a = []", r#""a"=[]"#);
    reads("a = [1, \"b\", true, 2.5,]", r#""a"=[1 "b" true 2.5]"#);
    reads("a = [\n{ b = 1 },\n{ c = [[1], [2, 3]] },\n]", r#""a"=[{"b"=1} {"c"=[[1] [2 3]]}]"#);
    reads("a = [[1] 2,, 3]", r#""a"=[[1] 2 3]"#);
    refuses("a = [1 2]", 1, 8, "expected `,` or `]` in the list, found a number");
    refuses("\n a = [1,\n b = 2", 3, 2, "expected a value, found `b`");
    refuses("\n a = [1,\n", 2, 6, "the list that opens here is never closed");
}

#[test]
fn errors_name_their_place() {
    refuses("a = 1\n\n  path \"x\"\n  [", 4, 3, "expected `=` or `{` after `path`, found `[`");
    refuses("a", 1, 2, "expected `=` or `{` after `a`, found the end of the text");
    refuses("a =", 1, 4, "expected a value, found the end of the text");
    refuses("a = b", 1, 5, "expected a value, found `b`");
    refuses("a { b = }", 1, 9, "expected a value, found `}`");
    refuses("a {\n b {\n }\n", 1, 3, "the block that opens here is never closed");
    refuses("a = 1 }", 1, 7, "this `}` closes nothing");
    refuses("a \"b\" = 1", 1, 7, "`a` has a label and a `=`");
    refuses("a {{}}", 1, 4, "expected a key, found `{`");
    refuses("= 1", 1, 1, "expected a key, found `=`");
    refuses("true = 1", 1, 1, "`true` and `false` cannot be keys");
    refuses("a: 1", 1, 2, "unexpected `:`");
    refuses("a = 1,, b = 2", 1, 7, "expected a key, found `,`");
    refuses("a = /x", 1, 5, "a single `/` means nothing");
    refuses("/* a", 1, 1, "the comment that begins here has no end");
    refuses("/*/", 1, 1, "the comment that begins here has no end");
    refuses("a = 1 \0", 1, 7, "unexpected the character U+0000");
    refuses("é = \"ü\" ?", 1, 9, "unexpected `?`");
}

#[test]
fn quoted_values_stay_out_of_errors() {
    for text in [
        "token = \"hunter2\" \"hunter2\"",
        "a = [\"hunter2\" \"hunter2\"]",
        "a = \"hunter2",
        "{\"a\": \"hunter2\" \"hunter2\"}",
    ] {
        assert!(!parse(text).expect_err(text).to_string().contains("hunter2"), "{text}");
    }
}

#[test]
fn positions_of_keys_and_values() {
    let tree = parse("a = 1\npath \"é\" /* x\n */ {\n  cap = [\n    2]\n}\n").unwrap();
    let path = &tree.items[1];
    let place = |line, column| Position { line, column };
    assert_eq!((path.at(), path.keys[1].at, path.value.at), (place(2, 1), place(2, 6), place(3, 5)));
    let cap = &path.value.as_object().unwrap().items[0];
    assert_eq!((cap.at(), cap.value.at, cap.value.as_list()[0].at), (place(4, 3), place(4, 9), place(5, 5)));
    let tree = parse("\n{\"a\": {\n  \"b\": [1,\n 2]}}").unwrap();
    let b = &tree.items[0].value.as_object().unwrap().items[0];
    assert_eq!((b.at(), b.value.as_list()[1].at), (place(3, 3), place(4, 2)));
}

#[test]
fn json_documents() {
    reads(" {}", "");
    reads(
        r#"{"path": {"secret/*": {"capabilities": ["read", "list"]}}}"#,
        r#""path"={"secret/*"={"capabilities"=["read" "list"]}}"#,
    );
    reads(
        r#"{"a": 1, "b": -2.5e1, "c": true, "d": null, "a": [[], {}]}"#,
        r#""a"=1 "b"=-25.0 "c"=true "d"="" "a"=[[] {}]"#,
    );
    reads(r#"{"a": "\u00e9\ud83d\ude00\n\/ ${x\"}"}"#, r#""a"="é😀\n/ ${x\"}""#);
    reads(r#"{"a": [1,], "b": {},}"#, r#""a"=[1] "b"={}"#);
    refuses(r#"{"a": 01}"#, 1, 7, "`01` is not a JSON number of 64 bits");
    refuses(r#"{"a": 9223372036854775808}"#, 1, 7, "`9223372036854775808` is not a JSON number of 64 bits");
    refuses(
        r#"{"a": 1 "b": 2}"#,
        1,
        9,
        "expected `,` or `}` in the object, found `\"` (the document is JSON)",
    );
    refuses("{a = 1}", 1, 2, "expected a key in double quotes, found `a` (the document is JSON)");
    refuses(r#"{"a" 1}"#, 1, 6, "expected `:` after the key, found `1` (the document is JSON)");
    refuses("{} x", 1, 4, "expected the end of the text, found `x` (the document is JSON)");
    refuses(
        "{\"a\":\n [1",
        2,
        4,
        "expected `,` or `]` in the list, found the end of the text (the document is JSON)",
    );
    refuses("{\"a\": [", 1, 7, "the list that opens here is never closed");
    refuses("{", 1, 1, "the object that opens here is never closed");
    refuses(r#"{"a": "\ud83d"}"#, 1, 8, "this backslash begins no JSON escape");
    refuses("{\"a\": \"\u{1}\"}", 1, 8, "the character U+0001 in a string");
    refuses(r#"{"a": yes}"#, 1, 7, "an unquoted word is no JSON value");
}

#[test]
fn limits() {
    let nested = |open: &str, close: &str, depth: u32| {
        format!("a = {}{}", open.repeat(depth as usize), close.repeat(depth as usize))
    };
    assert!(parse(&nested("[", "]", MAX_DEPTH)).is_ok());
    assert!(parse(&nested("[", "]", MAX_DEPTH + 1)).unwrap_err().what.contains("deeper"));
    assert!(parse(&"a{".repeat(MAX_BYTES / 2)).unwrap_err().what.contains("deeper"));
    assert!(parse(&format!("{{\"a\":{}", "[".repeat(MAX_BYTES / 2))).unwrap_err().what.contains("deeper"));
    assert!(parse(&" ".repeat(MAX_BYTES)).is_ok());
    assert!(parse(&" ".repeat(MAX_BYTES + 1)).unwrap_err().what.contains("bytes"));
    assert!(parse(&"a{}".repeat(MAX_NODES as usize)).is_ok());
    assert!(parse(&"a{}".repeat(MAX_NODES as usize + 1)).unwrap_err().what.contains("more than"));
    assert!(
        parse(&format!("a=[{}]", "1,".repeat(MAX_NODES as usize))).unwrap_err().what.contains("more than")
    );
}

/// Every one of these takes well under a second when the reader is linear, and minutes when it is quadratic.
#[test]
fn long_texts_of_one_kind_take_linear_time() {
    let kib = |unit: &str| unit.repeat(1_000_000 / unit.len());
    for text in [
        format!("a = \"{}\"", kib("x")),
        format!("a = \"{}\"", kib("\\n")),
        format!("a = \"{}", kib("${")),
        format!("a = \"{}\"", kib("${}")),
        kib("/*"),
        kib("/**/"),
        kib("#\n"),
        format!("a = <<EOF\n{}", kib("E\n")),
        format!("a = <<EOF\n{}", kib("EO")),
        format!("a = <<-EOF\n{}\n      EOF\n", kib("      x\n")),
        format!("a = <<{}\n{}", "E".repeat(500_000), "E\n".repeat(250_000)),
        kib("a=<<E\nE\n").chars().take(900_000).collect(),
        kib("a "),
        kib("\r\n"),
        format!("{{\"a\": \"{}", kib("\\u0041")),
    ] {
        let _ = parse(&text);
    }
}

#[test]
fn values_convert_as_in_the_decoder() {
    let tree = parse(
        "a=\"true\" b=30 c=\"0x10\" d=0644 e=1 f={x=1} g=[{x=1}] h=2.50 i=false j=\"no\" k=[\"a\",\"b\"] A=7",
    )
    .unwrap();
    let get = |name: &str| tree.get(name).unwrap();
    assert_eq!(tree.items[0].value.as_bool(), Some(true));
    assert_eq!(
        (get("e").as_bool(), get("i").as_bool(), get("j").as_bool(), get("b").as_bool()),
        (Some(true), Some(false), None, None)
    );
    assert_eq!(
        (get("b").as_str(), get("d").as_str(), get("h").as_str(), get("i").as_str()),
        (Some("30"), Some("0644"), Some("2.50"), Some("false"))
    );
    assert_eq!((get("c").as_int(), get("d").as_int(), get("j").as_int()), (Some(16), Some(420), None));
    assert_eq!(
        (get("h").as_float(), get("b").as_float(), get("j").as_float()),
        (Some(2.5), Some(30.0), None)
    );
    assert_eq!(get("a").as_int(), Some(7), "the last one wins, whatever its case");
    assert_eq!((get("k").as_list().len(), get("f").as_list().len()), (2, 1));
    assert_eq!(get("f").as_object().map(shown), get("g").as_object().map(shown));
    assert!(get("k").as_object().is_none() && get("k").as_str().is_none());
    assert_eq!(tree.all("a").count(), 2);
}

#[test]
fn blocks_in_every_spelling() {
    for text in [
        "listener \"tcp\" { a = 1 }\nlistener \"unix\" { a = 2 }",
        "listener { tcp { a = 1 } unix { a = 2 } }",
        "listener = { \"tcp\" = { a = 1 }, \"unix\" = { a = 2 } }",
        "listener = [{ tcp = { a = 1 } }, { unix = [{ a = 2 }] }]",
        r#"{"listener": {"tcp": {"a": 1}, "unix": {"a": 2}}}"#,
        r#"{"listener": [{"tcp": {"a": 1}}, {"unix": {"a": 2}}]}"#,
        r#"{"Listener": {"tcp": [{"a": 1}], "unix": [{"a": 2}]}}"#,
    ] {
        let tree = parse(text).unwrap();
        let blocks: Vec<(String, String)> = tree
            .blocks("listener", 1)
            .into_iter()
            .map(|block| block.map(|block| (block.labels[0].text.clone(), shown(block.body))).unwrap())
            .collect();
        let expected =
            [("tcp", r#"{"a"=1}"#), ("unix", r#"{"a"=2}"#)].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(blocks, expected, "{text}");
    }
    let wrong = parse("seal {}\nseal \"a\" \"b\" {}\nseal = 3\nseal \"ok\" {}\nseal { x = 1 }").unwrap();
    let found: Vec<Result<usize, String>> = wrong
        .blocks("seal", 1)
        .into_iter()
        .map(|b| b.map(|b| b.labels.len()).map_err(|e| e.to_string()))
        .collect();
    assert_eq!(
        found,
        [
            Err("line 1, column 1: `seal` takes 1 label, and has 0; write seal \"label\" { … }".to_owned()),
            Err("line 2, column 1: `seal` takes 1 label, and has 2; write seal \"label\" { … }".to_owned()),
            Err("line 3, column 8: `seal` is a number, not a block; write seal \"label\" { … }".to_owned()),
            Ok(1),
            Err("line 5, column 1: `seal` takes 1 label, and has 0; write seal \"label\" { … }".to_owned()),
        ]
    );
}

/// Writes a tree the way the generator's choices say: bare or quoted keys, commas or none, JSON or HCL.
fn printed(object: &Object, json: bool, commas: bool) -> String {
    let items: Vec<String> = object
        .items
        .iter()
        .map(|item| {
            let keys: Vec<String> = item.keys.iter().map(|key| printed_key(&key.text, json)).collect();
            let sign = match (json, &item.value.kind, item.keys.len()) {
                (true, ..) => ":",
                (false, Kind::Object(_), count) if commas || count > 1 => " ",
                _ => " = ",
            };
            format!("{}{sign}{}", keys.join(" "), printed_value(&item.value, json, commas))
        })
        .collect();
    items.join(if json || commas { ", " } else { "\n" })
}

fn printed_key(text: &str, json: bool) -> String {
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        && !["true", "false"].contains(&text);
    if bare && !json { text.to_owned() } else { quoted(text, json) }
}

fn quoted(text: &str, json: bool) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '$' if !json => out.push_str("\\x24"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}

fn printed_value(value: &Value, json: bool, commas: bool) -> String {
    match &value.kind {
        Kind::String(text) => quoted(text, json),
        Kind::Int(_, text) | Kind::Float(_, text) => text.to_string(),
        Kind::Bool(value) => value.to_string(),
        Kind::List(values) => {
            format!(
                "[{}]",
                values.iter().map(|v| printed_value(v, json, commas)).collect::<Vec<_>>().join(",")
            )
        }
        Kind::Object(object) => format!("{{{}}}", printed(object, json, commas)),
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "\\PC{0,8}|[a-z${}\"\\\\\n]{0,8}".prop_map(Kind::String),
        any::<i64>().prop_map(|value| Kind::Int(value, value.to_string().into())),
        (-1e9..1e9_f64).prop_map(|value| Kind::Float(value, format!("{value:e}").into())),
        any::<bool>().prop_map(Kind::Bool),
    ];
    let kind = leaf.prop_recursive(5, 40, 5, |inner| {
        let value = inner.prop_map(|kind| Value { kind, at: Position { line: 1, column: 1 } });
        let items = prop::collection::vec((any_key(), value.clone()), 0..5).prop_map(|items| {
            items.into_iter().map(|(key, value)| Item { keys: vec![key], value }).collect()
        });
        prop_oneof![
            prop::collection::vec(value, 0..5).prop_map(Kind::List),
            items.prop_map(|items| Kind::Object(Object { items })),
        ]
    });
    kind.prop_map(|kind| Value { kind, at: Position { line: 1, column: 1 } })
}

fn any_key() -> impl Strategy<Value = Key> {
    "[a-z][a-z0-9_.-]{0,6}|\\PC{0,6}|true|false"
        .prop_map(|text| Key { text, at: Position { line: 1, column: 1 } })
}

fn any_object() -> impl Strategy<Value = Object> {
    prop::collection::vec((prop::collection::vec(any_key(), 1..4), any_value()), 0..6).prop_map(|items| {
        let items = items.into_iter().map(|(mut keys, value)| {
            if !matches!(value.kind, Kind::Object(_)) {
                keys.truncate(1);
            }
            Item { keys, value }
        });
        Object { items: items.collect() }
    })
}

proptest! {
    #[test]
    fn a_printed_tree_reads_back(tree in any_object(), commas in any::<bool>()) {
        let text = printed(&tree, false, commas);
        let read = parse(&text);
        prop_assert_eq!(read.as_ref().map(shown).map_err(ToString::to_string), Ok(shown(&tree)), "{}", text);
    }

    #[test]
    fn a_printed_json_tree_reads_back(mut tree in any_object()) {
        for item in &mut tree.items {
            item.keys.truncate(1);
        }
        let text = format!("{{{}}}", printed(&tree, true, true));
        let read = parse(&text);
        prop_assert_eq!(read.as_ref().map(shown).map_err(ToString::to_string), Ok(shown(&tree)), "{}", text);
    }

    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,80}|[a-z={}\\[\\]\",#/*<\\-\\\\.0-9$ \n]{0,200}") {
        let _ = parse(&text);
        let _ = parse(&format!("{{{text}"));
    }

    #[test]
    fn errors_lie_within_the_text(text in "[a-z={}\\[\\]\",#/*<\\-\\\\.0-9$ \n]{0,60}") {
        if let Err(error) = parse(&text) {
            let line = text.split('\n').nth(error.at.line as usize - 1);
            prop_assert!(line.is_some_and(|line| (error.at.column as usize) <= line.chars().count() + 1), "{error}");
        }
    }
}
