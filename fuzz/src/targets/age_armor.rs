//! The armor of age files: what is read out of it is in it, and in no other armor.

use keyward_crypto::age::armor;
use std::io::Read;

pub(crate) fn run(data: &[u8]) {
    let mut file = Vec::new();
    if armor::Reader::new(data).read_to_end(&mut file).is_ok() {
        let text: Vec<u8> = data.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let again: Vec<u8> =
            armor::encode(&file).unwrap().bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        assert_eq!(text, again);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [0, 1, 47, 48, 49, 200].into_iter().map(|length| armor::encode(&vec![7; length]).unwrap().into_bytes()).collect()
}
