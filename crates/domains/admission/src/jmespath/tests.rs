//! The forms of the specification, and what policies add to it.

use crate::search::search;
use serde_json::{Value, json};

fn check(document: &Value, cases: &[(&str, Value)]) {
    for (text, expected) in cases {
        assert_eq!(search(text, document).unwrap_or_else(|why| json!({ "fault": why })), *expected, "{text}");
    }
}

#[test]
fn fields_indexes_and_slices() {
    let document = json!({"a": {"b c": [0, 1, 2, 3, 4], "d": {"e": "f"}}, "l": [[1, [2]], [3]]});
    check(
        &document,
        &[
            ("a.d.e", json!("f")),
            ("a.\"b c\"[0]", json!(0)),
            ("a.\"b c\"[-1]", json!(4)),
            ("a.\"b c\"[9]", Value::Null),
            ("a.\"b c\"[1:3]", json!([1, 2])),
            ("a.\"b c\"[::-2]", json!([4, 2, 0])),
            ("a.\"b c\"[:-3]", json!([0, 1])),
            ("l[]", json!([1, [2], 3])),
            ("l[][]", json!([1, 2, 3])),
            ("l[*][0]", json!([1, 3])),
            ("[a.d.e, l[1]]", json!(["f", [3]])),
            ("{x: a.d.e, y: `5`}", json!({"x": "f", "y": 5})),
            ("{x: a.d.e y: 'z'}", json!({"x": "f", "y": "z"})),
            ("a.d.[e, e]", json!(["f", "f"])),
            ("*.d", json!([{"e": "f"}])),
            ("a.d.*", json!(["f"])),
            ("@.a.d", json!({"e": "f"})),
            ("'raw \\' string'", json!("raw ' string")),
            ("`\"json\"`", json!("json")),
            ("`not json`", json!("not json")),
        ],
    );
}

#[test]
fn filters_logic_and_pipes() {
    let document = json!({"p": [{"n": "a", "s": 1}, {"n": "b", "s": 2}, {"n": "c"}], "t": true, "z": ""});
    check(
        &document,
        &[
            ("p[?s > `1`].n", json!(["b"])),
            ("p[?s].n", json!(["a", "b"])),
            ("p[?n == 'a' || n == 'c'].n", json!(["a", "c"])),
            ("p[?!(n == 'a')].n | [0]", json!("b")),
            ("p[*].s", json!([1, 2])),
            ("p[?s == missing].n", json!(["c"])),
            ("z || 'default'", json!("default")),
            ("missing || 'default'", json!("default")),
            ("missing || also.missing", Value::Null),
            ("t && z", json!("")),
            ("!missing", json!(true)),
            ("'a' < 'b'", Value::Null),
            ("p[].n | join(',', @)", json!("a,b,c")),
            ("p.length(@)", json!(3)),
            ("p[0].keys(@)", json!(["n", "s"])),
            ("p[].to_upper(n)", json!(["A", "B", "C"])),
        ],
    );
}

#[test]
fn a_missing_key_is_an_error_unless_it_is_caught() {
    let document = json!({"a": {}});
    for text in ["b", "a.b", "a.b.c", "length(a.b)", "a.b | length(@)"] {
        assert!(search(text, &document).is_err(), "{text}");
    }
    check(
        &document,
        &[
            ("not_null(a.b, 'x')", json!("x")),
            ("[a.b]", json!([null])),
            ("{x: a.b}", json!({"x": null})),
            ("a.b[].c", Value::Null),
            ("a.b[?c]", Value::Null),
            ("a.b == `null`", json!(true)),
        ],
    );
}

#[test]
fn functions_of_the_specification() {
    let document = json!({"n": [3, 1, 2], "s": ["b", "a"], "o": {"x": 1}, "p": [{"k": 2}, {"k": 1}]});
    check(
        &document,
        &[
            ("abs(`-1`)", json!(1)),
            ("avg(n)", json!(2)),
            ("ceil(`1.2`)", json!(2)),
            ("floor(`1.8`)", json!(1)),
            ("contains('abc', 'b')", json!(true)),
            ("contains(n, `2`)", json!(true)),
            ("ends_with('abc', 'c')", json!(true)),
            ("starts_with('abc', 'b')", json!(false)),
            ("max(n)", json!(3)),
            ("min(s)", json!("a")),
            ("max_by(p, &k).k", json!(2)),
            ("min_by(p, &k).k", json!(1)),
            ("sort(n)", json!([1, 2, 3])),
            ("sort_by(p, &k)[0].k", json!(1)),
            ("sum(n)", json!(6)),
            ("reverse(s)", json!(["a", "b"])),
            ("reverse('abc')", json!("cba")),
            ("map(&k, p)", json!([2, 1])),
            ("merge(o, {y: `2`})", json!({"x": 1, "y": 2})),
            ("values(o)", json!([1])),
            ("type(n)", json!("array")),
            ("to_array('a')", json!(["a"])),
            ("to_number('1.5')", json!(1.5)),
            ("to_number('x')", Value::Null),
            ("to_string(o)", json!("{\"x\":1}")),
        ],
    );
    for text in ["abs('a')", "length(`1`)", "sort([`1`, 'a'])", "join(',', n)"] {
        assert!(search(text, &document).is_err(), "{text}");
    }
}

#[test]
fn functions_of_policies() {
    let document = json!({"m": {"a": "1", "b": "2"}});
    check(
        &document,
        &[
            ("add('1Gi', '1Gi')", json!("2Gi")),
            ("add(`1`, `2`)", json!(3)),
            ("add('1h', '30m0s')", json!("1h30m0s")),
            ("subtract('10Mi', '5Mi')", json!("5Mi")),
            ("multiply('100m', `3`)", json!("300m")),
            ("divide('10Gi', '5Gi')", json!(2)),
            ("divide('2h', `2`)", json!("1h0m0s")),
            ("modulo(`7`, `4`)", json!(3)),
            ("sum(['1', '2'])", json!("3")),
            ("round(`1.23456`, `2`)", json!(1.23)),
            ("base64_encode('a')", json!("YQ==")),
            ("base64_decode('YQ==')", json!("a")),
            ("compare('a', 'b')", json!(-1)),
            ("equal_fold('Go', 'GO')", json!(true)),
            ("replace('aaa', 'a', 'b', `2`)", json!("bba")),
            ("replace_all('aaa', 'a', 'b')", json!("bbb")),
            ("split('a,b', ',')", json!(["a", "b"])),
            ("trim('xax', 'x')", json!("a")),
            ("trim_prefix('v1', 'v')", json!("1")),
            ("truncate('abcdef', `3`)", json!("abc")),
            ("regex_match('^1\\d+$', `123`)", json!(true)),
            ("regex_replace_all('(a)(b)', 'ab', '$2$1')", json!("ba")),
            ("regex_replace_all_literal('a', 'a', '$1')", json!("$1")),
            ("pattern_match('a*', 'abc')", json!(true)),
            ("label_match({a: '1'}, m)", json!(true)),
            ("items(m, 'k', 'v')[0]", json!({"k": "a", "v": "1"})),
            ("object_from_lists(['x'], ['y'])", json!({"x": "y"})),
            ("lookup(m, 'a')", json!("1")),
            ("parse_json('{\"a\": 1}').a", json!(1)),
            ("parse_yaml('a: [1]').a", json!([1])),
            ("path_canonicalize('///a//b/../c')", json!("/a/c")),
            ("semver_compare('1.2.3', '>=1.0.0 <2.0.0')", json!(true)),
            ("to_boolean('True')", json!(true)),
            ("image_normalize('nginx')", json!("docker.io/nginx:latest")),
            ("is_external_url('http://10.0.0.1/')", json!(false)),
            ("sha256('a')", json!("ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb")),
            ("md5('a')", json!("0cc175b9c0f1b6a831c399e269772661")),
            ("time_add('2023-01-12T12:00:00Z', '24h')", json!("2023-01-13T12:00:00Z")),
            ("time_diff('2023-01-12T12:00:00Z', '2023-01-12T13:30:00Z')", json!("1h30m0s")),
            ("time_since('', '2023-01-12T12:00:00Z', '2023-01-12T12:00:05Z')", json!("5s")),
            ("time_to_cron('2023-02-02T15:04:00Z')", json!("4 15 2 2 4")),
            ("time_parse('2006-01-02', '2023-05-01')", json!("2023-05-01T00:00:00Z")),
            ("time_before('2023-01-12T12:00:00Z', '2023-01-13T12:00:00Z')", json!(true)),
            ("time_truncate('2023-01-12T12:34:56Z', '1h')", json!("2023-01-12T12:00:00Z")),
            ("time_utc('2023-01-12T12:00:00+02:00')", json!("2023-01-12T10:00:00Z")),
            ("length(random('[a-z]{8}'))", json!(8)),
        ],
    );
    for text in ["divide('1', `0`)", "add('1Gi', '1h')", "base64_decode('%')", "to_boolean('maybe')"] {
        assert!(search(text, &document).is_err(), "{text}");
    }
}

#[test]
fn what_is_no_expression_says_where() {
    for (text, part) in [
        ("a.", "byte 2"),
        ("a[", "byte 2"),
        ("lenght(a)", "did you mean length?"),
        ("length()", "takes 1 arguments"),
        ("a ==", "byte 4"),
        ("'open", "not closed"),
        ("regex_match('(', 'a')", "not a regular expression"),
    ] {
        let why = search(text, &json!({})).unwrap_err();
        assert!(why.contains(part), "{text}: {why}");
    }
    assert!(search(&"(".repeat(10_000), &json!({})).is_err());
    let why = search(&format!("regex_match('{}', 'a')", "(a{100}){100}".repeat(20)), &json!({})).unwrap_err();
    assert!(why.contains("too large"), "{why}");
}

#[test]
fn what_explodes_is_stopped() {
    let list: Vec<Value> = (0..2_000).map(|_| json!(vec!["a"; 2_000])).collect();
    let why = search(&format!("a{}", ".a".repeat(10_000)), &json!({})).unwrap_err();
    assert!(why.contains("operators"), "{why}");
    let why = search("l[*].map(&to_upper(@), @)", &json!({ "l": list }));
    assert!(why.is_err_and(|why| why.contains("steps")));
}
