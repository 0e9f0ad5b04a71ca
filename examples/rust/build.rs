//! Links libunsay.so: from UNSAY_LIB_DIR if that is set, else from where pkg-config says.

use std::{env, process::Command};

fn main() {
    for name in ["UNSAY_LIB_DIR", "PKG_CONFIG_PATH"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rustc-link-lib=dylib=unsay");
    let folder = env::var("UNSAY_LIB_DIR").ok().or_else(installed);
    if let Some(folder) = folder {
        println!("cargo:rustc-link-search=native={folder}");
        // So that the program finds a library that is not in a system folder.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}

fn installed() -> Option<String> {
    let output = Command::new("pkg-config")
        .args(["--variable=libdir", "unsay"])
        .output()
        .ok()?;
    let folder = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !folder.is_empty()).then_some(folder)
}
