use super::*;
use keyward_crypto::x509::{Certificate as X509, San, pem};

const LIVES: Lives = Lives {
    authority: Duration::from_secs(900),
    server: Duration::from_secs(100),
    settling: Duration::from_secs(30),
};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + seconds)
}

fn made() -> Certificate {
    Certificate::own(&["webhook.test.svc".to_owned()], LIVES, Clients::Silent, at(0)).unwrap()
}

fn authorities(certificate: &Certificate) -> Vec<X509> {
    let bundle = certificate.bundle().borrow().clone();
    assert!(bundle.lines().all(|line| !line.contains("-----B") || line.starts_with("-----B")), "{bundle}");
    assert!(bundle.ends_with('\n'));
    pem::blocks(&bundle).unwrap().iter().map(|block| X509::read(&block.der).unwrap()).collect()
}

fn serving(certificate: &Certificate) -> X509 {
    let Source::Own { own, .. } = &*certificate.source.lock() else { panic!("not of its own") };
    X509::read(&own.chain()[0]).unwrap()
}

#[test]
fn a_certificate_is_renewed_at_half_of_its_life_by_the_same_authority() {
    let certificate = made();
    let (first, roots) = (serving(&certificate), authorities(&certificate));
    assert_eq!(roots.len(), 1);
    assert!(first.signed_by(&roots[0]) && roots[0].is_authority() && !first.is_authority());
    assert_eq!(first.alternative_names().unwrap(), [San::Dns("webhook.test.svc".to_owned())]);
    assert!(!certificate.renew(at(49)).unwrap());
    assert_eq!(serving(&certificate).serial(), first.serial());
    assert!(certificate.renew(at(50)).unwrap());
    let second = serving(&certificate);
    assert!(second.serial() != first.serial() && second.signed_by(&roots[0]));
    assert_eq!(authorities(&certificate).len(), 1);
}

#[test]
fn at_every_moment_a_client_with_the_bundle_of_before_believes_what_is_shown() {
    let certificate = made();
    let first = authorities(&certificate);
    let mut believed = first.clone();
    for second in 0..1500 {
        certificate.renew(at(second)).unwrap();
        let shown = serving(&certificate);
        // The bundle that a client has is as old as it takes to reach it: here a third of what is allowed for.
        assert!(believed.iter().any(|root| shown.signed_by(root)), "second {second}");
        assert!(shown.not_after() > at(second).secs(), "second {second}");
        if second % 10 == 0 {
            believed = authorities(&certificate);
        }
    }
    let last = authorities(&certificate);
    assert_eq!(last.len(), 1, "the authority of before is forgotten");
    assert_ne!(last[0].key_id(), first[0].key_id());
}

#[test]
fn files_count_from_when_they_change_and_broken_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let lay = |certificate: &Certificate| {
        let Source::Own { own, .. } = &*certificate.source.lock() else { panic!("not of its own") };
        let key = own.key().unwrap();
        std::fs::write(path("tls.crt"), pem::encode("CERTIFICATE", &own.chain()[0])).unwrap();
        std::fs::write(path("tls.key"), pem::encode("PRIVATE KEY", key.secret_der())).unwrap();
        std::fs::write(path("ca.crt"), own.bundle().as_bytes()).unwrap();
    };
    let files = TlsFiles {
        certificate: path("tls.crt"),
        key: path("tls.key"),
        clients: Clients::Silent,
        tls12: false,
    };
    assert!(Certificate::of_files(files.clone(), None).is_err());
    lay(&made());
    let certificate = Certificate::of_files(files, Some(path("ca.crt"))).unwrap();
    let (config, bundle) = (certificate.config(), certificate.bundle());
    assert!(!certificate.renew(at(0)).unwrap());
    std::fs::write(path("tls.key"), "no key").unwrap();
    assert!(certificate.renew(at(1)).is_err());
    assert!(Arc::ptr_eq(&config, &certificate.config()));
    lay(&made());
    assert!(certificate.renew(at(2)).unwrap());
    assert!(!Arc::ptr_eq(&config, &certificate.config()) && bundle.has_changed().unwrap());
}
