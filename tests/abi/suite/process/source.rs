//! Sources that are processes: what they may do wrong, one input after the other.

use super::*;

/// The source with a deed at the begin of one of its functions.
fn spoiled(python: &Path, function: &str, deed: &str) -> Arc<dyn SourcePlugin> {
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("lines.py");
    let text = fs::read_to_string(folder("lines").join("lines.py")).unwrap();
    let begin = format!("    def {function}:\n");
    assert!(text.contains(&begin), "{function}");
    fs::write(&program, text.replace(&begin, &format!("{begin}        {deed}\n"))).unwrap();
    let command = vec![python.to_path_buf(), program];
    let registry = registered("lines", command, limits(Duration::from_secs(3))).unwrap();
    registry.get_source("lines").unwrap().clone()
}

fn read(source: &dyn BoundSource, cancelled: bool) -> Result<CollectedRecords, PluginError> {
    read_all(source, &MemoryInput::new("input", "7\t王小明\n8\tsecret\n"), cancelled)
}

#[test]
fn what_a_source_that_is_a_process_does_is_named() {
    let Some(python) = python("pyarrow") else { return };
    let row = "('x', 'MRN', '7', None, 0, 0, 1, 1, 0, None)";
    let rows = |kind: u32, row: &str| format!("send({{'reply': 'rows', 'kind': {kind}}}, stream(ROWS, [{row}]))");
    for (function, deed, phase, code) in [
        (
            "read(self, message)",
            "import time; time.sleep(60)".to_owned(),
            "read",
            "PLUGIN_TIMEOUT",
        ),
        (
            "read(self, message)",
            "while True: send({'reply': 'filtered', 'rule': 'x', 'n': 1})".to_owned(),
            "read",
            "PLUGIN_TIMEOUT",
        ),
        (
            "read(self, message)",
            "while True: send({'reply': 'bytes', 'offset': 0, 'length': 1}); receive()".to_owned(),
            "read",
            "PLUGIN_TIMEOUT",
        ),
        (
            "read(self, message)",
            "for n in range(1000): send({'reply': 'filtered', 'rule': f'n{n}', 'n': 1})".to_owned(),
            "read",
            "ABI_NAMES",
        ),
        (
            "read(self, message)",
            "import os; os.abort()".to_owned(),
            "read",
            "PLUGIN_PROCESS",
        ),
        (
            "read(self, message)",
            "sys.exit(5)".to_owned(),
            "read",
            "PLUGIN_PROCESS",
        ),
        (
            "read(self, message)",
            "print('王小明', flush=True)".to_owned(),
            "read",
            "PLUGIN_PROTOCOL",
        ),
        (
            "read(self, message)",
            "send({'reply': 'count', 'name': 'x', 'n': 1})".to_owned(),
            "read",
            "PLUGIN_PROTOCOL",
        ),
        (
            "read(self, message)",
            "send({'reply': 'bytes'})".to_owned(),
            "read",
            "PLUGIN_PROTOCOL",
        ),
        (
            "read(self, message)",
            "send({'reply': 'rows', 'kind': 0}, b'x' * 300)".to_owned(),
            "read",
            "PLUGIN_PROTOCOL",
        ),
        (
            "read(self, message)",
            "send({'reply': 'rows', 'kind': 0}, stream(RECORD, [('x',)]))".to_owned(),
            "read",
            "PLUGIN_PROTOCOL",
        ),
        ("read(self, message)", rows(1, row), "read", "PLUGIN_PROTOCOL"),
        (
            "read(self, message)",
            rows(0, &row.replace("'7'", "None")),
            "read",
            "PLUGIN_PROTOCOL",
        ),
        (
            "read(self, message)",
            rows(0, &row.replace("None, 0, 0", "None, 2, 0")),
            "read",
            "PLUGIN_PROTOCOL",
        ),
        (
            "read(self, message)",
            "send({'reply': 'rejected'}, stream(REJECTED, [(0, '', 'm', 0, 1, 1, 0, None)]))".to_owned(),
            "read",
            "ABI_CODE",
        ),
        (
            "read(self, message)",
            "send({'reply': 'rejected'}, stream(REJECTED, [(9, 'A', 'm', 0, 1, 1, 0, None)]))".to_owned(),
            "read",
            "PLUGIN_PROTOCOL",
        ),
        (
            "splits(self, message)",
            "return [[0, 1 << 40]]".to_owned(),
            "splits",
            "PLUGIN_PROTOCOL",
        ),
        (
            "splits(self, message)",
            "return [[3, 1]]".to_owned(),
            "splits",
            "PLUGIN_PROTOCOL",
        ),
        (
            "splits(self, message)",
            "import time; time.sleep(60)".to_owned(),
            "splits",
            "PLUGIN_TIMEOUT",
        ),
    ] {
        let plugin = spoiled(&python, function, &deed);
        let bound = plugin
            .bind(&json!({ "issuer": "MRN" }), &BindContext::default())
            .unwrap();
        let began = Instant::now();
        let error = read(bound.as_ref(), false)
            .err()
            .unwrap_or_else(|| panic!("{deed}: no error"));
        assert_eq!(error.code, code, "{deed}: {error}");
        names(&error, "lines", phase);
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{deed}: {:?}",
            began.elapsed()
        );
    }
    for (deed, code) in [
        ("return", "PLUGIN_PROTOCOL"),
        (
            "send({'reply': 'record', 'key': ['none'], 'fold': 'replace', 'subject': True}, stream(RECORD))",
            "PLUGIN_PROTOCOL",
        ),
        (
            "send({'reply': 'record', 'key': 'content', 'fold': 'x', 'subject': True}, stream(RECORD))",
            "PLUGIN_PROTOCOL",
        ),
        (
            "send({'reply': 'record', 'key': 'content', 'fold': 'patch', 'subject': 1}, stream(RECORD))",
            "PLUGIN_PROTOCOL",
        ),
        (
            "send({'reply': 'record', 'key': 'content', 'fold': 'patch', 'subject': True}, stream(pa.schema([('a', pa.dictionary(pa.int8(), pa.string()))])))",
            "PLUGIN_PROTOCOL",
        ),
    ] {
        let plugin = spoiled(&python, "bind(self, options)", deed);
        let error = plugin
            .bind(&json!({ "issuer": "MRN" }), &BindContext::default())
            .err()
            .unwrap();
        assert_eq!(error.code, code, "{deed}: {error}");
        names(&error, "lines", "bind");
    }
}

#[test]
fn a_process_reads_one_input_after_the_other() {
    let Some(python) = python("pyarrow") else { return };
    // It says how many inputs it has read: a process of its own for each would say 1.
    let deed = "self.n = getattr(self, 'n', 0) + 1; send({'reply': 'filtered', 'rule': f'read-n{self.n}', 'n': 1}); \
        send({'reply': 'link', 'survivor': {'issuer': 'MRN', 'id': '7'}, 'retired': {'issuer': 'MRN', 'id': '8'}, 'row': 2})";
    let plugin = spoiled(&python, "read(self, message)", deed);
    let bound = plugin
        .bind(&json!({ "issuer": "MRN" }), &BindContext::default())
        .unwrap();
    for n in 1..=3 {
        let out = read(bound.as_ref(), false).unwrap();
        assert_eq!(out.rows_of(0), 2);
        assert_eq!(out.filtered.get(&format!("read-n{n}")), Some(&1), "{:?}", out.filtered);
        let link = &out.links[0];
        assert_eq!(
            (link.survivor.id.as_str(), link.retired.id.as_str(), link.at.row),
            ("7", "8", 2)
        );
    }
    // A cancelled one is ended, and the next one starts anew.
    let error = read(bound.as_ref(), true).err().unwrap();
    assert_eq!(error.status, Status::Cancelled);
    let out = read(bound.as_ref(), false).unwrap();
    assert_eq!(out.filtered.get("read-n1"), Some(&1), "{:?}", out.filtered);
    // What the host refuses is the reason.
    let input = MemoryInput::new("input", "7\ta\n");
    let cancelled = AtomicBool::new(false);
    let task = TaskContext {
        cancelled: &cancelled,
        batch_rows: 1024,
    };
    let error = bound
        .read(&input, &Split::whole(&input), &task, &mut Full)
        .err()
        .unwrap();
    assert_eq!(error.code, "FULL");
}

/// Takes nothing.
struct Full;

impl clinmill_sdk::RecordSink for Full {
    fn rows(&mut self, _: clinmill_sdk::RecordBatchOf) -> Result<(), PluginError> {
        Err(PluginError::new(Status::ResourceExhausted, "FULL", "it is full"))
    }
    fn reject(&mut self, _: clinmill_sdk::Rejection) -> Result<(), PluginError> {
        Ok(())
    }
    fn filtered(&mut self, _: &str, _: u64) {}
    fn link(&mut self, _: clinmill_sdk::IdentityLink) -> Result<(), PluginError> {
        Ok(())
    }
    fn progress(&mut self, _: u64) {}
}
