//! What is wrong in the drops, on purpose: broken records among good ones, and files that come twice.

use super::{
    clock::{Minute, compact},
    drops::Drop,
};
use std::{fs, io, path::Path};

/// A record that must end in quarantine, and nothing else of its file with it.
pub struct Broken {
    /// The file, relative to the output folder.
    pub file: String,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Writes the broken records of a week that stand before the good ones of their files. Weeks count from 0.
///
/// # Errors
/// When a file cannot be written.
pub fn before(week: i64, drop: &mut Drop) -> io::Result<Vec<Broken>> {
    let mut list = List {
        week,
        broken: Vec::new(),
    };
    let day = |n: i64| compact(week * 7 + n);
    match week % 3 {
        0 => {
            let file = list.add(
                format!("hl7/adt_{}.hl7", day(2)),
                "segments of a message whose MSH was cut off",
            );
            drop.gb18030(
                &file,
                "PID|1||99999991^^^MRN^MR||断头^^^^^^L||19500101|M\rPV1|1|I|神經介入診區\r",
            )?;
            let file = list.add(format!("lis/lis_{}.csv", day(3)), "a row with two fields too few");
            drop.lis_row(&file, "99999992,L9999992,ZY99999992,钾,4.1,mmol/L,3.5-5.3\r\n")?;
        }
        1 => {
            let file = list.add(
                format!("hl7/oru_{}.hl7", day(2)),
                "a message with bytes that are not GB18030",
            );
            drop.gb18030(&file, &header(week, 1, "LIS", "ORU^R01^ORU_R01"))?;
            drop.raw(&file, b"PID|1||99999993^^^MRN^MR||\xff\xff^^^^^^L\r")?;
            drop.gb18030(
                &file,
                "OBR|1||L9999993^LIS|XCG^血常规^L\rOBX|1|NM|WBC^白细胞计数^L||5.1|||||F\r",
            )?;
            let file = list.add(
                format!("dialogue/followup_{}.jsonl", day(6)),
                "a line of JSON that is cut off",
            );
            drop.raw(&file, b"{\"call_no\": \"SF99999994\", \"mrn\": \"99999994\", \"te\n")?;
        }
        _ => {
            let file = list.add(
                format!("hl7/oru_{}.hl7", day(2)),
                "a message without a patient's number",
            );
            drop.message(
                &file,
                &(header(week, 2, "LIS", "ORU^R01^ORU_R01")
                    + "PID|1||||未知^^^^^^L\r\
                OBR|1||L9999995^LIS|XCG^血常规^L\rOBX|1|NM|WBC^白细胞计数^L||5.1|||||F\r"),
            )?;
            let file = list.add(format!("lis/lis_{}.csv", day(1)), "a row without a patient's number");
            drop.lis_row(
                &file,
                ",L9999996,ZY99999996,钾,4.1,mmol/L,3.5-5.3,2026/3/17 6:10,2026-03-17 10:40\r\n",
            )?;
            let file = list.add(
                format!("dialogue/followup_{}.jsonl", day(6)),
                "a call without a patient's number",
            );
            drop.raw(
                &file,
                "{\"call_no\": \"SF99999997\", \"text\": \"患者：喂？\"}\n".as_bytes(),
            )?;
        }
    }
    Ok(list.broken)
}

/// Writes the broken records of a week that stand after the good ones of their files, and broken notes.
///
/// # Errors
/// When a file cannot be written.
pub fn after(week: i64, drop: &mut Drop) -> io::Result<Vec<Broken>> {
    let mut list = List {
        week,
        broken: Vec::new(),
    };
    let day = |n: i64| compact(week * 7 + n);
    match week % 3 {
        0 => {
            let file = list.add(
                "notes/99999981/ZY99999981_病程记录.txt".to_owned(),
                "a note without text",
            );
            drop.whole(&file, "", false)?;
        }
        1 => {
            let file = list.add(format!("hl7/oru_{}.hl7", day(4)), "a message that ends within its MSH");
            let header = header(week, 3, "LIS", "ORU^R01^ORU_R01");
            drop.gb18030(&file, header.get(..62).unwrap_or_default())?;
            let file = list.add(format!("lis/lis_{}.csv", day(4)), "a quote that is never closed");
            drop.lis_row(&file, "99999982,L9999982,ZY99999982,钠,\"140.2,mmol/L,137-147\r\n")?;
        }
        _ => {
            let file = list.add(
                "notes/99999983/ZY99999983_病程记录.txt".to_owned(),
                "a note with bytes that are neither UTF-8 nor GB18030",
            );
            drop.raw(&file, b"\xb2\xa1\xb3\xcc\xff\xff\xbc\xc7\n")?;
        }
    }
    Ok(list.broken)
}

/// Copies files of the week before under other names, and a note under its own: nothing of it is news.
///
/// # Errors
/// When a file cannot be copied.
pub fn resend(out: &Path, week: i64) -> io::Result<Vec<String>> {
    let mut sent = Vec::new();
    let (from, to) = (out.join(format!("week{week}")), out.join(format!("week{}", week + 1)));
    for (folder, stem, end, day) in [("hl7", "adt", "hl7", 0), ("lis", "lis", "csv", 2)] {
        let date = compact((week - 1) * 7 + day);
        let source = from.join(format!("{folder}/{stem}_{date}.{end}"));
        if source.exists() {
            let name = format!("{folder}/{stem}_{date}_resend.{end}");
            fs::create_dir_all(to.join(folder))?;
            fs::copy(source, to.join(&name))?;
            sent.push(format!("week{}/{name}", week + 1));
        }
    }
    Ok(sent)
}

struct List {
    week: i64,
    broken: Vec<Broken>,
}

impl List {
    /// Notes a broken record and gives its file back, relative to the week's folder.
    fn add(&mut self, file: String, what: &'static str) -> String {
        self.broken.push(Broken {
            file: format!("week{}/{file}", self.week + 1),
            what,
        });
        file
    }
}

fn header(week: i64, number: i64, sender: &str, kind: &str) -> String {
    let at = Minute::at(week * 7, 7, 0).hl7();
    format!("MSH|^~\\&|{sender}|YDYY|CDR|YDYY|{at}||{kind}|X{week:04}{number:02}|P|2.4|||||CHN|GB 18030-2000|zh\r")
}
