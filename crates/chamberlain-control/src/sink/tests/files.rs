//! Sinks that are files.

use super::*;

fn env_file(path: &Path) -> Value {
    json!({ "kind": "env_file", "environment": "production", "variable": "KEY",
            "path": path.to_str().unwrap() })
}

fn refused(ground: &Ground, path: &Path) -> SinkFault {
    let sink = sink(env_file(path));
    let fault = sink.deliver(&ground.parcel()).unwrap_err();
    assert_eq!(fault.effect, Effect::Nothing, "{fault}");
    fault
}

#[test]
fn a_line_is_replaced_for_its_owner_alone_and_nothing_else_is_left() {
    let ground = Ground::new();
    let path = ground.path(".env.local");
    fs::write(&path, "# mine\nKEY=old\nOTHER_KEY=x\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let sink = sink(env_file(&path));
    let notes = sink.check().unwrap().join(" ");
    assert!(notes.contains("mode 644"), "{notes}");
    assert!(matches!(sink.verify(&ground.parcel(), None), Ok(Standing::Differs(_))));
    let receipt = sink.deliver(&ground.parcel()).unwrap();
    assert!(!receipt.was_there);
    let expected = format!("# mine\nKEY={}\nOTHER_KEY=x\n", ground.text());
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!((mode(&path), ground.names()), (0o600, vec![".env.local".to_owned()]));
    assert_eq!(sink.verify(&ground.parcel(), None), Ok(Standing::Holds));
    // Again: the very same file.
    let inode = fs::metadata(&path).unwrap().ino();
    assert!(sink.deliver(&ground.parcel()).unwrap().was_there);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    // Another key is not this one.
    let other = mint([1; 16], [2; 43]);
    let other = Parcel::of_virtual_key(&other.text, &other.id);
    assert!(matches!(sink.verify(&other, None), Ok(Standing::Differs(_))));
    // A file that was opened to others does not hold it well, and is closed again.
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(sink.verify(&ground.parcel(), None), Ok(Standing::Differs(_))));
    assert!(!sink.deliver(&ground.parcel()).unwrap().was_there);
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_missing_file_is_made_and_a_check_makes_none() {
    let ground = Ground::new();
    let path = ground.path(".env");
    let sink = sink(env_file(&path));
    sink.check().unwrap();
    assert_eq!(ground.names(), [""; 0]);
    sink.deliver(&ground.parcel()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("KEY={}\n", ground.text()));
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn links_are_refused_by_what_they_lead_to() {
    let ground = Ground::new();
    let (real, link) = (ground.path("real"), ground.path(".env"));
    fs::write(&real, "KEY=old\n").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let fault = refused(&ground, &link);
    assert!(fault.message.contains("is a link to") && fault.again == Again::Never, "{fault}");
    fs::remove_file(&link).unwrap();
    fs::hard_link(&real, &link).unwrap();
    assert!(refused(&ground, &link).message.contains("another name"));
    assert_eq!(fs::read_to_string(&real).unwrap(), "KEY=old\n");
    // A folder may be reached through a link; what counts is where it leads.
    let folder = ground.path("folder");
    std::os::unix::fs::symlink(ground.folder.path(), &folder).unwrap();
    fs::remove_file(&link).unwrap();
    sink(env_file(&folder.join("real"))).deliver(&ground.parcel()).unwrap();
    assert!(fs::read_to_string(&real).unwrap().contains(ground.text()));
}

#[test]
fn folders_and_files_of_others_are_refused() {
    let ground = Ground::new();
    let path = ground.path(".env");
    fs::create_dir(ground.path("sub")).unwrap();
    assert!(refused(&ground, &ground.path("sub")).message.contains("is not a file"));
    assert!(refused(&ground, &ground.path("none/.env")).message.contains("cannot be used"));
    let open = |mode| {
        fs::set_permissions(ground.folder.path(), Permissions::from_mode(mode)).unwrap();
    };
    open(0o702);
    assert!(refused(&ground, &path).hint.starts_with("chmod o-w"));
    open(0o1777);
    assert!(refused(&ground, &path).hint.starts_with("chmod o-w"));
    open(0o770);
    assert!(refused(&ground, &path).hint.contains("`owner`"));
    // With an owner that is configured it does not matter whose file lies there.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mut written = env_file(&path);
    written["owner"] = json!(format!("{uid}:{gid}"));
    sink(written).deliver(&ground.parcel()).unwrap();
    open(0o700);
}

#[test]
fn an_owner_that_cannot_be_given_is_refused_before_anything_is_written() {
    let ground = Ground::new();
    let path = ground.path(".env");
    fs::write(&path, "KEY=old\n").unwrap();
    let mut written = env_file(&path);
    written["owner"] = json!("no-such-user-here:0");
    let fault = sink(written).deliver(&ground.parcel()).unwrap_err();
    assert!(fault.message.contains("no-such-user-here"), "{fault}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "KEY=old\n");
}

#[test]
fn roots_file_stays_its_owners() {
    // Only root can give files away.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let ground = Ground::new();
    let path = ground.path(".env");
    fs::write(&path, "KEY=old\n").unwrap();
    std::os::unix::fs::chown(&path, Some(12_345), Some(23_456)).unwrap();
    sink(env_file(&path)).deliver(&ground.parcel()).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid(), mode(&path)), (12_345, 23_456, 0o600));
    let mut written = env_file(&path);
    written["owner"] = json!("34567:45678");
    sink(written).deliver(&ground.parcel()).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid()), (34_567, 45_678));
}

#[test]
fn what_a_killed_process_left_is_swept_by_the_next() {
    let ground = Ground::new();
    let path = ground.path(".env");
    fs::write(ground.path(".env.chamberlain-new"), "KEY=half").unwrap();
    sink(env_file(&path)).deliver(&ground.parcel()).unwrap();
    assert_eq!(ground.names(), [".env"]);
}

#[test]
fn two_at_once_leave_one_whole_file() {
    let ground = Ground::new();
    let path = ground.path(".env");
    fs::write(&path, format!("A={}\nKEY=old\nB=2\n", "x".repeat(50_000))).unwrap();
    let others: Vec<MintedKey> = (1..5).map(|seed| mint([seed; 16], [seed; 43])).collect();
    std::thread::scope(|scope| {
        for other in &others {
            let path = &path;
            scope.spawn(move || {
                let parcel = Parcel::of_virtual_key(&other.text, &other.id);
                for _ in 0..5 {
                    sink(env_file(path)).deliver(&parcel).unwrap();
                }
            });
        }
    });
    let text = fs::read_to_string(&path).unwrap();
    let whole = |key: &MintedKey| {
        text == format!("A={}\nKEY={}\nB=2\n", "x".repeat(50_000), key.text.expose())
    };
    assert!(others.iter().any(whole));
    assert_eq!(ground.names(), [".env"]);
}

#[test]
fn a_manifest_is_written_over_its_own_kind_only() {
    let ground = Ground::new();
    let path = ground.path("anthropic.yaml");
    let written = json!({ "kind": "kubernetes", "environment": "production", "secret": "anthropic",
                          "variable": "KEY", "path": path.to_str().unwrap() });
    let sink = sink(written);
    sink.check().unwrap();
    assert!(!sink.deliver(&ground.parcel()).unwrap().was_there);
    assert_eq!(mode(&path), 0o600);
    assert!(sink.deliver(&ground.parcel()).unwrap().was_there);
    assert_eq!(sink.verify(&ground.parcel(), None), Ok(Standing::Holds));
    fs::write(&path, "kind: Deployment\n").unwrap();
    let fault = sink.deliver(&ground.parcel()).unwrap_err();
    assert_eq!((fault.effect, fault.again), (Effect::Nothing, Again::Never), "{fault}");
    assert!(sink.check().is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "kind: Deployment\n");
}
