//! A config that fits this machine, and each way in which one does not.

use super::*;
use std::os::unix::fs::PermissionsExt;

/// A folder with a key, a certificate, an audit directory, and a config of five blocks.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("dir"));
        place.certificate(&["localhost"], 2024, 4000);
        fs::create_dir(place.path("audit")).expect("mkdir");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A new pair, valid from and to the first day of these years.
    fn certificate(&self, names: &[&str], from: i32, to: i32) {
        let key = rcgen::KeyPair::generate().expect("key");
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let certificate = params.self_signed(&key).expect("certificate");
        fs::write(self.path("cert.pem"), certificate.pem()).expect("write");
        fs::write(self.path("key.pem"), key.serialize_pem()).expect("write");
        self.mode("key.pem", 0o600);
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("chmod");
    }

    fn text(&self) -> String {
        let dir = self.0.path().display();
        let tls = format!("  tls_cert_file = \"{dir}/cert.pem\"\n  tls_key_file = \"{dir}/key.pem\"\n");
        format!(
            "storage \"sled\" {{\n  path = \"{dir}/data\"\n}}\nlistener \"tcp\" {{\n  address = \"127.0.0.1:8200\"\n{tls}}}\ngateway {{\n  address = \"127.0.0.1:8210\"\n{tls}}}\naudit \"file\" \"a\" {{\n  path = \"{dir}/audit/log\"\n}}\n"
        )
    }

    /// What `check` says of a config, with the file's name taken off.
    fn says(&self, text: &str) -> Vec<String> {
        let file = self.path("vaultd.hcl");
        fs::write(&file, text).expect("write");
        let problems = check(std::slice::from_ref(&file)).map(|_| ()).err().unwrap_or_default();
        let prefix = format!("{}:", file.display());
        let strip = |p: &Problem| p.to_string().strip_prefix(&prefix).expect("its file and line").to_owned();
        problems.iter().map(strip).collect()
    }

    fn refused(&self, text: &str, wants: &[&str]) {
        let said = self.says(text);
        assert_eq!(said.len(), wants.len(), "{wants:?}\n{said:#?}");
        for (said, want) in said.iter().zip(wants) {
            let (line, words) = want.split_once(' ').expect("line and words");
            assert!(said.starts_with(&format!("{line}: ")) && said.contains(words), "{want}\n{said}");
        }
    }
}

#[test]
fn what_fits_is_accepted_and_nothing_is_made() {
    let place = Place::new();
    assert!(place.says(&place.text()).is_empty());
    assert!(!place.path("data").exists());
}

#[test]
fn certificates_that_clients_refuse() {
    let place = Place::new();
    place.certificate(&["localhost"], 2020, 2021);
    place.refused(&place.text(), &["6 expired on 2021-01-01", "11 expired on 2021-01-01"]);
    place.certificate(&["localhost"], 2200, 2201);
    place.refused(&place.text(), &["6 is not valid before 2200-01-01", "11 is not valid before 2200"]);
    place.certificate(&[], 2024, 4000);
    place.refused(&place.text(), &["6 no subjectAltName", "11 no subjectAltName"]);
}

#[test]
fn a_certificate_behind_the_first_has_its_time_too() {
    let place = Place::new();
    place.certificate(&[], 2020, 2021);
    let behind = fs::read_to_string(place.path("cert.pem")).expect("read");
    place.certificate(&["localhost"], 2024, 4000);
    let leaf = fs::read_to_string(place.path("cert.pem")).expect("read");
    fs::write(place.path("cert.pem"), format!("{leaf}{behind}")).expect("write");
    // That it has no name is nobody's business: clients ask the first one.
    let said = place.says(&place.text());
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[0].starts_with("6: certificate 2 of ") && said[0].contains("expired on 2021"), "{said:#?}");
}

#[test]
fn keys_that_do_not_fit_or_are_open() {
    let place = Place::new();
    let key = fs::read(place.path("key.pem")).expect("key");
    place.certificate(&["localhost"], 2024, 4000);
    fs::write(place.path("key.pem"), key).expect("write");
    place.refused(&place.text(), &["7 does not belong to the key", "12 does not belong to the key"]);
    place.certificate(&["localhost"], 2024, 4000);
    place.mode("key.pem", 0o644);
    place.refused(&place.text(), &["7 can be read by others (mode 0644)", "12 can be read by others"]);
    place.mode("key.pem", 0o640);
    assert!(place.says(&place.text()).is_empty(), "a group of its own is fine");
    fs::write(place.path("cert.pem"), "no certificate").expect("write");
    place.refused(&place.text(), &["6 holds no usable certificate", "11 holds no usable certificate"]);
}

#[test]
fn places_that_are_taken_or_missing() {
    let place = Place::new();
    let text = place.text();
    for other in ["127.0.0.1:8200", "0.0.0.0:8200", "[::]:8200", ":8200", "localhost:8200"] {
        let said = place.says(&text.replace("127.0.0.1:8210", other));
        let fine = ["10: \"gateway.address\" is the place of \"listener.tcp\" too"];
        // A machine may resolve `localhost` to ::1 first.
        assert!(said == fine || (other.starts_with("localhost") && said.is_empty()), "{other}: {said:?}");
    }
    assert!(place.says(&text.replace("127.0.0.1:8210", "[::1]:8200")).is_empty(), "another address");
    let sockets =
        "listener \"unix\" {\n address = \"/run/s\"\n}\nlistener \"unix\" {\n  address = \"/run/s\"\n}\n";
    place.refused(&format!("{sockets}{text}"), &["5 is the place of \"listener.unix\" too"]);
    fs::write(place.path("data"), "x").expect("write");
    place.refused(&text, &["2 is not a directory"]);
    fs::remove_file(place.path("data")).expect("remove");
    fs::create_dir(place.path("data")).expect("mkdir");
    place.mode("data", 0o755);
    place.refused(&text, &["2 is open to others (mode 0755)"]);
    place.mode("data", 0o700);
    fs::create_dir(place.path("state")).expect("mkdir");
    place.mode("state", 0o750);
    let state = format!("state_dir = \"{}\"\n{text}", place.path("state").display());
    place.refused(&state, &["1 is open to others (mode 0750)"]);
    place.mode("state", 0o700);
    assert!(place.says(&state).is_empty());
    fs::write(place.path("file"), "x").expect("write");
    place.refused(&text.replace("audit/log", "file/log"), &["15 is not a directory"]);
    let typo = text.replace("audit/log", "adit/log");
    place.refused(&typo, &[&format!("15 did you mean {}?", place.path("audit").display())]);
    let typo = text.replacen("key.pem", "kye.pem", 1);
    place.refused(&typo, &[&format!("7 did you mean {}?", place.path("key.pem").display())]);
}
