//! The language, the extensions, and what is refused before it runs.

use crate::search::evaluate;
use serde_json::{Value, json};

fn check(object: &Value, cases: &[(&str, Value)]) {
    for (text, expected) in cases {
        let found = evaluate(text, &[("object", object)], 1_700_000_000_000_000_000);
        assert_eq!(found.unwrap_or_else(|why| json!({ "fault": why })), *expected, "{text}");
    }
}

fn fault(text: &str) -> String {
    match evaluate(text, &[("object", &json!({"a": {"b": 1}, "l": [1, 2]}))], 0) {
        Err(why) => why,
        Ok(value) => panic!("{text} yields {value}"),
    }
}

#[test]
fn the_language() {
    let object = json!({"a": {"b": [1, 2, 3], "c": "x"}, "n": 5, "f": 1.5, "z": null});
    check(
        &object,
        &[
            ("1 + 2 * 3 - 4 / 2", json!(5)),
            ("7 % 4", json!(3)),
            ("-object.n", json!(-5)),
            ("'a' + \"b\" + r'\\n'", json!("ab\\n")),
            ("'''x\ny'''", json!("x\ny")),
            ("'\\u00fc\\x41\\101'", json!("üAA")),
            ("0x1F", json!(31)),
            ("1u + 2u", json!(3)),
            ("1.5e1", json!(15)),
            ("object.a.b[1]", json!(2)),
            ("object['n'] == 5.0", json!(true)),
            ("1 == 'a'", json!(false)),
            ("1 < 1.5", json!(true)),
            ("2 in object.a.b", json!(true)),
            ("'c' in object.a", json!(true)),
            ("has(object.a.c) && !has(object.a.d)", json!(true)),
            ("object.x == 1 || true", json!(true)),
            ("false && object.x == 1", json!(false)),
            ("object.n > 3 ? 'big' : 'small'", json!("big")),
            ("[1, 2] + [3]", json!([1, 2, 3])),
            ("{'a': 1, 'b': [true]}", json!({"a": 1, "b": [true]})),
            ("size('äö') + size([1]) + size({})", json!(3)),
            ("type(1) == int", json!(true)),
            ("object.z == null", json!(true)),
            ("int('5') + int(2.9)", json!(7)),
            ("string(1) + string(true)", json!("1true")),
            ("double('1.5')", json!(1.5)),
            ("dyn(1)", json!(1)),
            ("// a comment\n1", json!(1)),
        ],
    );
}

#[test]
fn comprehensions_and_optionals() {
    let object = json!({"l": [{"n": "a", "v": 1}, {"n": "b"}], "m": {"x": 1, "y": 2}});
    check(
        &object,
        &[
            ("object.l.all(e, has(e.n))", json!(true)),
            ("object.l.exists(e, e.n == 'b')", json!(true)),
            ("object.l.exists_one(e, e.n == 'b')", json!(true)),
            ("object.l.exists(e, e.v == 1)", json!(true)),
            ("object.l.map(e, e.n)", json!(["a", "b"])),
            ("object.l.map(e, has(e.v), e.n)", json!(["a"])),
            ("object.l.filter(e, !has(e.v)).size()", json!(1)),
            ("object.m.all(k, k in ['x', 'y'])", json!(true)),
            ("object.m.all(k, v, v > 0)", json!(true)),
            ("object.m.exists(k, v, k == 'y' && v == 2)", json!(true)),
            ("['a', 'b'].transformList(i, v, string(i) + v)", json!(["0a", "1b"])),
            ("object.m.transformMap(k, v, v * 2)", json!({"x": 2, "y": 4})),
            ("object.m.transformMapEntry(k, v, {string(v): k})", json!({"1": "x", "2": "y"})),
            ("[3, 1, 2].sortBy(e, -e)", json!([3, 2, 1])),
            ("cel.bind(x, 2, x * x)", json!(4)),
            ("object.?q.?r.orValue('none')", json!("none")),
            ("object.?m.x.orValue(0)", json!(1)),
            ("object.m[?'x'].hasValue()", json!(true)),
            ("object.?m.optMap(m, m.x + 1).orValue(0)", json!(2)),
            ("optional.of(1).or(optional.of(2)).value()", json!(1)),
            ("optional.ofNonZeroValue('').hasValue()", json!(false)),
            ("[?object.?q, 1]", json!([1])),
            ("{?'a': object.?q, 'b': 1}", json!({"b": 1})),
            ("object.m.orValue({})", json!({"x": 1, "y": 2})),
            ("Object{spec: Object.spec{a: 1, ?b: object.?q}}", json!({"spec": {"a": 1}})),
            (
                "[JSONPatch{op: 'add', path: '/a', value: 1}]",
                json!([{"op": "add", "path": "/a", "value": 1}]),
            ),
        ],
    );
}

#[test]
fn the_libraries() {
    check(
        &Value::Null,
        &[
            ("'abc'.charAt(1)", json!("b")),
            ("'a,b'.split(',')", json!(["a", "b"])),
            ("['a', 'b'].join('-')", json!("a-b")),
            ("'hello'.substring(1, 3)", json!("el")),
            ("'aXa'.replace('a', 'b')", json!("bXb")),
            ("' a '.trim() + 'A'.lowerAscii()", json!("aa")),
            ("'abcb'.indexOf('b') + 'abcb'.lastIndexOf('b')", json!(4)),
            ("'%s is %d of %.2f'.format(['a', 1, 2.0])", json!("a is 1 of 2.00")),
            ("'abc'.matches('^a.c$')", json!(true)),
            ("'a1b22'.findAll('[0-9]+')", json!(["1", "22"])),
            ("regex.replace('foo bar', '(fo+) (bar)', r'\\2 \\1')", json!("bar foo")),
            ("[3, 1].isSorted() || [1, 3].isSorted()", json!(true)),
            ("[1, 2, 3].sum() + [1, 5].max()", json!(11)),
            ("[[1], [2, [3]]].flatten()", json!([1, 2, [3]])),
            ("[1, 1, 2].distinct()", json!([1, 2])),
            ("[1, 2, 3].slice(1, 3)", json!([2, 3])),
            ("lists.range(3)", json!([0, 1, 2])),
            ("sets.contains([1, 2], [2]) && sets.intersects([1], [1])", json!(true)),
            ("math.greatest(1, 2.5) + math.least([3, 1])", json!(3.5)),
            ("quantity('1Gi').isGreaterThan(quantity('1000Mi'))", json!(true)),
            ("string(quantity('1Gi').add(quantity('1Gi')))", json!("2Gi")),
            ("isQuantity('x')", json!(false)),
            ("semver('1.2.3').isLessThan(semver('1.10.0'))", json!(true)),
            ("ip('10.0.0.1').family() == 4 && !isIP('x')", json!(true)),
            ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", json!(true)),
            ("string(cidr('10.1.2.3/8').masked())", json!("10.0.0.0/8")),
            ("url('https://a.b:8080/c?d=e').getPort()", json!("8080")),
            ("format.dns1123Label().validate('Bad').hasValue()", json!(true)),
            ("jsonpatch.escapeKey('a/b~c')", json!("a~1b~0c")),
            ("base64.encode(b'a') + string(base64.decode('YQ=='))", json!("YQ==a")),
            ("timestamp('2023-01-02T03:04:05Z').getHours()", json!(3)),
            (
                "timestamp('2023-01-01T00:00:00Z') + duration('1h') > timestamp('2023-01-01T00:30:00Z')",
                json!(true),
            ),
            ("duration('90m').getMinutes()", json!(90)),
            ("time.now() > timestamp('2023-01-01T00:00:00Z')", json!(true)),
            ("json.unmarshal('{\"a\": [1]}').a[0] + yaml.parse('b: 2').b", json!(3)),
            ("image('ghcr.io/a/b:c').registry() + image('nginx').tag()", json!("ghcr.iolatest")),
            ("sha256('a').size()", json!(64)),
            ("parseServiceAccount('system:serviceaccount:n:s').Name", json!("s")),
            ("listObjToMap([{'k': 'a'}], [{'v': 1}], 'k', 'v')", json!({"a": 1})),
            ("math.round(1.23456, 2)", json!(1.23)),
            ("random('[a-z]{5}').size()", json!(5)),
            ("string(gzip.uncompress(gzip.compress('abc')))", json!("abc")),
        ],
    );
}

#[test]
fn what_is_wrong_is_said() {
    for (text, part) in [
        ("objekt.a", "did you mean object?"),
        ("object.a.startWith('x')", "did you mean startsWith?"),
        ("1 + 'a'", "do not go together"),
        ("'a' && true", "a boolean"),
        ("size(1, 2)", "takes 1 to 1"),
        ("object.l.all(1, true)", "no function all"),
        ("Objct{a: 1}", "did you mean Object?"),
        ("object.", "1:8"),
        ("(1", ") is missing"),
        ("object.a.x", "no such key: x"),
        ("object.l[5]", "no such key: 5"),
        ("1 / 0", "division by zero"),
        ("9223372036854775807 + 1", "overflow"),
        ("resource.get('v1', 'pods', 'a', 'b')", "not there yet"),
        ("'a'.matches('(')", "not a regular expression"),
    ] {
        let why = fault(text);
        assert!(why.contains(part), "{text}: {why}");
    }
}

#[test]
fn what_explodes_is_stopped() {
    assert!(fault("lists.range(3000).all(a, lists.range(3000).all(b, a + b >= 0))").contains("steps"));
    assert!(fault("lists.range(100000000).size() > 0").contains("steps"));
    assert!(fault(&"(".repeat(10_000)).contains("nested"));
    assert!(fault(&format!("{}true", "!".repeat(10_000))).contains("nested"));
    assert!(fault(&format!("object{}", ".a".repeat(10_000))).contains("operators"));
    assert!(fault(&format!("1{}", " + 1".repeat(10_000))).contains("operators"));
    let doubling = "cel.bind(a, 'xxxxxxxxxxxxxxxx', ".to_owned()
        + &"cel.bind(a, a + a + a + a, ".repeat(14)
        + "a"
        + &")".repeat(15);
    assert!(fault(&doubling).contains("4 MiB"));
}
