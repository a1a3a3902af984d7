//! A hostile input costs bounded memory. Alone in its process, because it looks at the memory of the whole of it.

mod common;

use clinmill_sdk::Input;
use common::{codes, column, read, with};
use serde_json::json;
use std::{collections::BTreeMap, fs, io};

/// A message whose one segment is made while it is read.
struct Endless {
    head: Vec<u8>,
    size: u64,
    tail: Vec<u8>,
    captures: BTreeMap<String, String>,
}

impl Input for Endless {
    fn name(&self) -> &str {
        "endless.hl7"
    }
    fn captures(&self) -> &BTreeMap<String, String> {
        &self.captures
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - offset.min(self.size)).unwrap_or(usize::MAX);
        let n = buf.len().min(left);
        let tail = self.size - self.tail.len() as u64;
        for (at, byte) in (offset..).zip(&mut buf[..n]) {
            *byte = match usize::try_from(at).ok().and_then(|at| self.head.get(at)) {
                Some(byte) => *byte,
                None if at >= tail => self.tail[(at - tail) as usize],
                None => b'x',
            };
        }
        Ok(n)
    }
}

fn endless(head: &str) -> Endless {
    let tail = "\rMSH|^~\\&|B\rPID|||P2^^^H\rOBX|1|ST|A||small\r";
    Endless {
        head: head.into(),
        size: 100 << 20,
        tail: tail.into(),
        captures: BTreeMap::new(),
    }
}

/// The most memory this process ever had, in bytes.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[test]
fn a_segment_of_100_mb_costs_bounded_memory() {
    let options = |max: u64| json!({ "subject": { "id": "PID-3.1", "issuer": "H" }, "records": { "result": { "per": "OBX", "fields": { "value": "OBX-5" } } }, "max_message": max });
    let source = with(options(4 << 20));
    for (head, code) in [
        ("MSH|^~\\&|A\rPID|||P1^^^H\rOBX|1|ST|A||", "HL7_TOO_LONG"),
        ("no message at all ", "HL7_NO_MSH"),
    ] {
        let before = peak();
        let input = endless(head);
        let collected = read(&source, &input);
        assert_eq!(codes(&collected), [code]);
        let at = &collected.rejections[0].at;
        assert_eq!((at.offset, at.length), (0, input.size - input.tail.len() as u64 + 1));
        assert_eq!(column(&collected, 0, 0), [Some("small".to_owned())]);
        if let (Some(before), Some(after)) = (before, peak()) {
            assert!(after - before < 40 << 20, "{} bytes more", after - before);
        }
    }
}
