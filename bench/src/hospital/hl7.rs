//! HL7 v2.4 messages in GB18030: admissions (A01, A03, A08, A11, A13, A40) and results (ORU^R01). Segments end in CR,
//! messages follow each other without framing.

use super::{
    clock::Minute,
    orders::{Delivery, Order},
    people::{Patient, Role, Visit},
    text::er7,
};
use std::fmt::Write as _;

/// A message and the day on which it reaches the data centre.
pub struct Message {
    /// Day of arrival.
    pub arrives: i64,
    /// The segments.
    pub text: String,
}

/// Writes the messages about one patient; control ids (MSH-10) count up.
pub struct Messages<'a> {
    patient: &'a Patient,
    sent: u64,
}

impl<'a> Messages<'a> {
    /// Messages about this patient.
    pub fn of(patient: &'a Patient) -> Self {
        Self { patient, sent: 0 }
    }

    /// All messages of the patient administration, by time.
    pub fn admissions(&mut self) -> Vec<Message> {
        let patient = self.patient;
        let mut events: Vec<(Minute, &str, Option<&Visit>)> = Vec::new();
        for visit in &patient.visits {
            events.push((visit.admitted, "A01", Some(visit)));
            if patient.moved_to.is_some() {
                events.push((told_of_move(visit), "A08", Some(visit)));
            }
            events.extend(visit.cancelled.map(|at| (at, "A11", Some(visit))));
            for discharge in &visit.discharges {
                events.push((discharge.at, "A03", Some(visit)));
                events.extend(discharge.cancelled.map(|at| (at, "A13", Some(visit))));
            }
        }
        if patient.role == Role::Merged {
            events.push((patient.merged_at(), "A40", None));
            events.push((patient.merged_at().plus(1_000), "A08", patient.visits.first()));
        }
        events.sort_by_key(|event| event.0);
        events
            .into_iter()
            .map(|(at, event, visit)| self.admission(at, event, visit))
            .collect()
    }

    fn admission(&mut self, at: Minute, event: &str, visit: Option<&Visit>) -> Message {
        let structure = match event {
            "A03" => "A03",
            "A11" => "A09",
            "A40" => "A39",
            _ => "A01",
        };
        let mut text = self.header(at, "HIS", &format!("ADT^{event}^ADT_{structure}"));
        let _ = write!(text, "EVN|{event}|{}\r", at.hl7());
        self.pid(&mut text, at);
        match visit {
            Some(visit) => {
                let discharged = match event {
                    "A03" => Some(at.hl7()),
                    // The cancelled time is to be emptied: `""` (HL7 v2.4, section 2.10).
                    "A13" => Some("\"\"".to_owned()),
                    _ => None,
                };
                self.pv1(&mut text, visit, discharged.as_deref());
                if event == "A01" {
                    let [code, name] = self.patient.diagnosis;
                    let _ = write!(text, "DG1|1||{code}^{name}^ICD-10|||A\r");
                }
            }
            None => {
                if let Some(temporary) = &self.patient.temporary {
                    let _ = write!(text, "MRG|{temporary}^^^MRN^MR\r");
                }
            }
        }
        Message {
            arrives: at.day(),
            text,
        }
    }

    /// The results said at one time.
    pub fn result(&mut self, visit: &Visit, order: &Order, delivery: &Delivery) -> Message {
        let status = match delivery.lines.first().map(|line| line.status) {
            Some('P') => 'P',
            Some('C' | 'W' | 'D') => 'C',
            _ => 'F',
        };
        let mut text = self.header(delivery.said, "LIS", "ORU^R01^ORU_R01");
        self.pid(&mut text, delivery.said);
        self.pv1(&mut text, visit, None);
        let (no, panel, said) = (&order.no, order.panel, delivery.said.hl7());
        let _ = write!(text, "ORC|RE|{no}^HIS|{no}^LIS||CM\r");
        let _ = write!(
            text,
            "OBR|1|{no}^HIS|{no}^LIS|{}^{}^L|||{}|||||||{}||||||||{said}||HM|{status}\r",
            panel.code,
            er7(panel.name),
            order.sampled.hl7(),
            order.sampled.plus(20).hl7(),
        );
        for (i, line) in delivery.lines.iter().enumerate() {
            let kind = if line.value.parse::<f64>().is_ok() { "NM" } else { "ST" };
            let _ = write!(
                text,
                "OBX|{}|{kind}|{}^{}^L||{}|{}|{}|{}|||{}|||{}\r",
                i + 1,
                line.assay.code,
                er7(line.assay.name),
                er7(&line.value),
                er7(line.assay.unit),
                er7(&line.assay.range()),
                line.assay.flag(&line.value),
                line.status,
                order.sampled.hl7(),
            );
        }
        match delivery.lines.first().map(|line| line.status) {
            Some('W') => text.push_str("NTE|1|L|张贴错误：标本属于其他患者，原结果作废\r"),
            Some('C') => text.push_str("NTE|1|L|复查后更正\\.br\\审核：檢驗科 区億誠\r"),
            _ if panel.code == "US-CA" => {
                text.push_str("NTE|1|L|超聲診斷：頸動脈粥样硬化斑块形成\\.br\\繼续随访，建議DSA檢查\r");
            }
            _ => {}
        }
        Message {
            arrives: delivery.arrives,
            text,
        }
    }

    fn header(&mut self, at: Minute, sender: &str, kind: &str) -> String {
        self.sent += 1;
        format!(
            "MSH|^~\\&|{sender}|YDYY|CDR|YDYY|{}||{kind}|{sender}{:07}{:04}|P|2.4|||||CHN|GB 18030-2000|zh\r",
            at.hl7(),
            self.patient.index,
            self.sent,
        )
    }

    /// PID. The emergency department knows neither birth nor name of a patient with a temporary number.
    fn pid(&self, text: &mut String, at: Minute) {
        let p = self.patient;
        let id = p.mrn_at(at);
        if p.temporary.as_deref() == Some(id) {
            let _ = write!(text, "PID|1||{id}^^^MRN^MR||无名氏^^^^^^U|||{}\r", p.sex);
            return;
        }
        let moved = p.visits.first().is_some_and(|first| at >= told_of_move(first));
        let street = p.moved_to.as_deref().filter(|_| moved).unwrap_or(&p.street);
        let [province, city, district, postcode] = p.place;
        let _ = write!(
            text,
            "PID|1||{id}^^^MRN^MR~{}^^^GA^NI||{}^^^^^^L||{}|{}|||{district}{street}^^{city}^{province}^{postcode}^CHN||{}|||M\r",
            p.national_id, p.name, p.birth, p.sex, p.phone,
        );
    }

    /// PV1 with visit number (19), admission (44) and, where said, discharge (45).
    fn pv1(&self, text: &mut String, visit: &Visit, discharged: Option<&str>) {
        let ward = self.patient.ward;
        let _ = write!(
            text,
            "PV1|1|I|{}^{}床||||{}|||{}|||||||||{}^^^VN|||||||||||||||||||||||||{}|{}\r",
            ward.place,
            visit.bed,
            visit.doctor,
            ward.service,
            visit.no,
            visit.admitted.hl7(),
            discharged.unwrap_or_default(),
        );
    }
}

/// When the patient tells a new address.
fn told_of_move(visit: &Visit) -> Minute {
    visit.admitted.plus(1_500)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hospital::{Options, orders::orders};

    fn field<'t>(text: &'t str, segment: &str, n: usize) -> &'t str {
        let segment = text.split('\r').find(|s| s.starts_with(segment)).unwrap();
        // In MSH the separator itself is field 1.
        segment
            .split('|')
            .nth(if segment.starts_with("MSH") { n - 1 } else { n })
            .unwrap_or("")
    }

    #[test]
    fn fields_stand_where_the_standard_puts_them() {
        let patient = Patient::new(&Options::default(), 1);
        let mut messages = Messages::of(&patient);
        let all = messages.admissions();
        let a01 = &all[0].text;
        assert_eq!(field(a01, "MSH", 9), "ADT^A01^ADT_A01");
        assert_eq!(field(a01, "MSH", 18), "GB 18030-2000");
        assert_eq!(field(a01, "PID", 7), patient.birth);
        assert!(field(a01, "PID", 11).contains("省^"));
        assert_eq!(field(a01, "PV1", 19), format!("{}^^^VN", patient.visits[0].no));
        assert_eq!(field(a01, "PV1", 44), patient.visits[0].admitted.hl7());
        let a03 = &all.iter().find(|m| m.text.contains("A03")).unwrap().text;
        assert_eq!(field(a03, "PV1", 45), patient.visits[0].discharges[0].at.hl7());

        let order = &orders(&Options::default(), &patient)[0];
        let oru = messages.result(&patient.visits[0], order, &order.deliveries[0]).text;
        assert_eq!(field(&oru, "OBR", 3), format!("{}^LIS", order.no));
        assert_eq!(field(&oru, "OBR", 7), order.sampled.hl7());
        assert_eq!(field(&oru, "OBR", 22), order.deliveries[0].said.hl7());
        assert_eq!(field(&oru, "OBR", 25), "F");
        assert_eq!(field(&oru, "OBX", 11), "F");
        assert_eq!(field(&oru, "OBX", 6), "10\\S\\9/L");
    }
}
