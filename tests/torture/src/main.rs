//! What the framework promises under attack and failure, put to the test by processes: `-- help` says how.

fn main() {
    println!("torture processes | soak | load");
}
