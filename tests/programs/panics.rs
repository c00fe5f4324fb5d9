// SPDX-License-Identifier: MIT
// A thread of a Rust program, and a panic: its text, and status 101.
use std::collections::HashMap;

fn main() {
    let mut words: HashMap<&str, usize> = HashMap::new();
    for word in "a b a c".split(' ') {
        *words.entry(word).or_default() += 1;
    }
    let counted = std::thread::spawn(move || words["a"]);
    println!("{}", counted.join().unwrap());
    let numbers = [1, 2, 3].to_vec();
    println!("{}", numbers[std::env::args().count() + 5]);
}
