//! HCL and its JSON form, which configurations and policies are written in.

use keyward_authority::hcl::parse;

pub(crate) fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else { return };
    if let Err(why) = parse(text) {
        assert!(!why.to_string().is_empty());
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    crate::texts(&[
        "a = 1\nb \"c\" \"d\" { e = [\"f\", 2, true,] g = { h = -0x1f } }\n",
        "# one\n// two\n/* three */ a = \"\\u00fc ${b}\\n\"\nt = <<EOF\ntext\nEOF\nu = <<-EOF\n  text\n  EOF\n",
        "{\"a\": {\"b\": [1, 2.5e3, null, false]}}",
    ])
}
