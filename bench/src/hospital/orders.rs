//! Orders and their results: what is measured, when it is said, when it arrives, and what holds in the end.

use super::{
    Options,
    assays::{self, Assay, Panel},
    clock::Minute,
    people::{Patient, Role, Visit},
    rng::Rng,
};

/// How results reach the data centre.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// ORU^R01.
    Hl7,
    /// The laboratory's CSV.
    Lis,
}

/// An order with all that was ever said about it.
pub struct Order {
    /// How its results arrive.
    pub feed: Feed,
    /// Filler order number or 报告号.
    pub no: String,
    /// What was ordered.
    pub panel: &'static Panel,
    /// Visit number.
    pub visit: String,
    /// When the sample was taken.
    pub sampled: Minute,
    /// What was said, by time said.
    pub deliveries: Vec<Delivery>,
}

/// Results of one order, said at one time.
pub struct Delivery {
    /// When it was said: OBR-22 or 报告时间.
    pub said: Minute,
    /// The day on which it reaches the data centre.
    pub arrives: i64,
    /// The results.
    pub lines: Vec<Line>,
}

/// One result.
pub struct Line {
    /// The test.
    pub assay: &'static Assay,
    /// The value as written.
    pub value: String,
    /// OBX-11.
    pub status: char,
}

impl Line {
    /// True when it says that the result does not hold.
    pub fn void(&self) -> bool {
        matches!(self.status, 'W' | 'D')
    }
}

impl Order {
    /// The result of a test as known at the end of a day: the one said last among those that have arrived. None: not
    /// known, or void.
    pub fn known(&self, assay: &Assay, day: i64) -> Option<&Line> {
        self.deliveries
            .iter()
            .filter(|d| d.arrives <= day)
            .flat_map(|d| d.lines.iter().map(move |line| (d.said, line)))
            .filter(|(_, line)| line.assay.code == assay.code)
            .max_by_key(|(said, _)| *said)
            .map(|(_, line)| line)
            .filter(|line| !line.void())
    }
}

/// The orders of a patient, by time.
pub fn orders(options: &Options, patient: &Patient) -> Vec<Order> {
    let mut maker = Maker {
        options,
        patient,
        rng: Rng::of(options.seed, &[3, patient.index]),
        orders: Vec::new(),
    };
    for visit in patient.visits.iter().filter(|visit| visit.cancelled.is_none()) {
        maker.visit(visit);
    }
    incident(patient, &mut maker.orders);
    maker.orders
}

struct Maker<'a> {
    options: &'a Options,
    patient: &'a Patient,
    rng: Rng,
    orders: Vec<Order>,
}

impl Maker<'_> {
    fn visit(&mut self, visit: &Visit) {
        let day = visit.admitted.day() + 1;
        self.order(Feed::Hl7, &assays::BLOOD_COUNT, visit, Minute::at(day, 6, 5), 150);
        self.order(Feed::Hl7, &assays::COAGULATION, visit, Minute::at(day, 6, 5), 200);
        self.order(Feed::Lis, &assays::CHEMISTRY, visit, Minute::at(day, 6, 5), 240);
        self.order(Feed::Lis, &assays::LIPIDS, visit, Minute::at(day, 6, 5), 240);
        self.order(Feed::Lis, &assays::RISK, visit, Minute::at(day, 6, 10), 300);
        self.order(Feed::Lis, &assays::ANTIBODIES, visit, Minute::at(day, 6, 10), 420);
        self.order(Feed::Hl7, &assays::ULTRASOUND, visit, Minute::at(day, 14, 0), 45);
        self.order(Feed::Lis, &assays::GENE, visit, Minute::at(day, 6, 10), 4_000);
        let Some(operation) = &visit.operation else { return };
        let day = operation.at.day();
        self.order(Feed::Hl7, &assays::BEDSIDE, visit, operation.at.plus(25), 2);
        self.order(Feed::Lis, &assays::PLATELETS, visit, Minute::at(day, 6, 0), 180);
        for draw in 0..self.options.draws {
            // After the operation: every morning, then every six hours for as many draws as are asked for.
            let taken = Minute::at(day + 1, 6, 0).plus(draw / 4 * 1_440 + draw % 4 * 240);
            self.order(Feed::Hl7, &assays::BLOOD_COUNT, visit, taken, 150);
            self.order(Feed::Hl7, &assays::COAGULATION, visit, taken.plus(3), 200);
            self.order(Feed::Lis, &assays::CHEMISTRY, visit, taken.plus(5), 240);
        }
    }

    fn order(&mut self, feed: Feed, panel: &'static Panel, visit: &Visit, sampled: Minute, takes: i64) {
        let rng = &mut self.rng;
        let sampled = sampled.plus(rng.range(0, 40));
        let said = sampled.plus(takes + rng.range(0, 30));
        let number = self.orders.len();
        let prefix = if feed == Feed::Hl7 { "B" } else { "L" };
        let lines: Vec<Line> = panel
            .assays
            .iter()
            .map(|assay| Line {
                assay,
                value: assay.value(rng, feed == Feed::Lis),
                status: 'F',
            })
            .collect();
        let mut deliveries = Vec::new();
        // Coagulation is often told twice: first what the analyser says, then what the doctor signed.
        if feed == Feed::Hl7 && panel.code == assays::COAGULATION.code && rng.one_in(2) {
            let lines = lines
                .iter()
                .map(|l| Line {
                    value: l.value.clone(),
                    status: 'P',
                    ..*l
                })
                .collect();
            deliveries.push(Delivery {
                said,
                arrives: said.day(),
                lines,
            });
        }
        let said = said.plus(40);
        deliveries.push(Delivery {
            said,
            arrives: said.day(),
            lines,
        });
        self.orders.push(Order {
            feed,
            no: format!("{prefix}{:07}{number:03}", self.patient.index + 1_001),
            panel,
            visit: visit.no.clone(),
            sampled,
            deliveries,
        });
    }
}

/// Puts the patient's incident into the orders.
fn incident(patient: &Patient, orders: &mut [Order]) {
    let late = patient.start + 16;
    let find = |orders: &mut [Order], panel: &Panel| -> Option<usize> {
        orders.iter().position(|order| order.panel.code == panel.code)
    };
    match patient.role {
        Role::CorrectedHl7 => {
            if let Some(at) = find(orders, &assays::BLOOD_COUNT) {
                correct(&mut orders[at], 'C', 7 * 1_440, 0);
            }
        }
        Role::CorrectedLis => {
            if let Some(at) = find(orders, &assays::CHEMISTRY) {
                correct(&mut orders[at], 'C', 7 * 1_440, 2);
            }
        }
        Role::Wrong => {
            if let Some(at) = find(orders, &assays::BEDSIDE) {
                correct(&mut orders[at], 'W', 5 * 1_440, 0);
            }
        }
        Role::Deleted => {
            if let Some(at) = find(orders, &assays::ULTRASOUND) {
                correct(&mut orders[at], 'D', 6 * 1_440, 2);
            }
        }
        Role::Late => {
            for panel in [&assays::COAGULATION, &assays::RISK] {
                if let Some(at) = find(orders, panel) {
                    orders[at].deliveries.iter_mut().for_each(|d| d.arrives = late);
                }
            }
        }
        Role::OutOfOrder => {
            for panel in [&assays::BLOOD_COUNT, &assays::CHEMISTRY] {
                if let Some(at) = find(orders, panel) {
                    correct(&mut orders[at], 'C', 1_440, 1);
                    orders[at].deliveries[0].arrives = late;
                }
            }
        }
        _ => {}
    }
}

/// Adds a later delivery that says something else about one line of the last one.
fn correct(order: &mut Order, status: char, after: i64, line: usize) {
    let Some(last) = order.deliveries.last() else { return };
    let Some(old) = last.lines.get(line) else { return };
    let value = match old.value.trim().trim_end_matches(['↑', '↓']).parse::<f64>() {
        Ok(number) if status == 'C' => format!("{:.1}", number * 1.2 + 0.3),
        _ if status == 'C' => "6.6".to_owned(),
        _ => old.value.clone(),
    };
    let said = last.said.plus(after);
    let lines = vec![Line {
        assay: old.assay,
        value,
        status,
    }];
    order.deliveries.push(Delivery {
        said,
        arrives: said.day(),
        lines,
    });
}
