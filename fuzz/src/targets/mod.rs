//! One file each: its first line says what is read and who may have made it.

use crate::Target;

macro_rules! targets {
    ($($name:ident)*) => {
        $(mod $name;)*

        /// Every target, by name.
        pub static TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $name::run, seeds: $name::seeds }),*];
    };
}

targets! {
    address admission_policy age_armor age_file age_header age_identity age_program age_recipient audit_log barrier_entry cel
    certificate cidr config duration encryption_config enrollment_bundle fields hcl http identity image_signature jmespath jws jwt key_import keyring
    kms_envelope kms_snapshot kms_value ldap_name ocsp_answer path policy posture_record registry request sealed_item sealed_manifest sealing_rules
    shamir ssh_key token token_identity totp_url transit
}
