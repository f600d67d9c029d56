//! A good component, and a command rather than a handler: it exports `wasi:cli/run` only.

fn main() {
    println!("nobody asked for this");
}
