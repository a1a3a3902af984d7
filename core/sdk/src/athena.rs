//! OMOP vocabularies as Athena hands them out: `CONCEPT.csv` and `CONCEPT_RELATIONSHIP.csv`, tab-separated, without
//! quotes, of any size. Rows stay on disk; in memory are a hash and a place for each concept and the pairs of `Maps to`.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Why a folder cannot be used: the file, the line (0 without one), and what is wrong.
#[derive(Debug)]
pub struct AthenaError {
    /// The file.
    pub file: PathBuf,
    /// 1-based line, 0 where it is about the whole file.
    pub line: u64,
    /// What is wrong. Vocabularies hold no patient's data: it may quote them.
    pub what: String,
}

impl fmt::Display for AthenaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.what),
        }
    }
}

impl std::error::Error for AthenaError {}

/// A row of `CONCEPT.csv` (OMOP CDM 5.4, table `concept`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concept {
    /// `concept_id`.
    pub id: u32,
    /// `concept_name`.
    pub name: String,
    /// `domain_id`.
    pub domain: String,
    /// `vocabulary_id`.
    pub vocabulary: String,
    /// `standard_concept` is `S`.
    pub standard: bool,
    /// `concept_code`.
    pub code: String,
    /// `invalid_reason` is empty.
    pub valid: bool,
}

/// A folder of vocabularies.
#[derive(Debug)]
pub struct Athena {
    path: PathBuf,
    file: Mutex<File>,
    columns: Columns,
    /// Hash of vocabulary and code, and where the row begins; sorted.
    codes: Vec<(u64, u64)>,
    /// From and to of each valid `Maps to`; sorted.
    maps_to: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Columns {
    id: usize,
    name: usize,
    domain: usize,
    vocabulary: usize,
    standard: usize,
    code: usize,
    invalid: usize,
}

impl Columns {
    fn concept(&self, line: &str) -> Option<Concept> {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |index: usize| cells.get(index).map(|cell| cell.trim());
        Some(Concept {
            id: cell(self.id)?.parse().ok()?,
            name: cell(self.name)?.into(),
            domain: cell(self.domain)?.into(),
            vocabulary: cell(self.vocabulary)?.into(),
            standard: cell(self.standard)? == "S",
            code: cell(self.code)?.into(),
            valid: cell(self.invalid).unwrap_or_default().is_empty(),
        })
    }
}

/// FNV-1a over vocabulary and code; a hit is compared with the row, so that a collision costs a read and no more.
fn hash(vocabulary: &str, code: &str) -> u64 {
    let bytes = vocabulary.bytes().chain([0x1f]).chain(code.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Calls with the place and text of every line below the header, and returns the columns' places.
fn scan<const N: usize>(
    path: &Path,
    names: [&str; N],
    mut row: impl FnMut(&[usize; N], u64, &str) -> Result<(), String>,
) -> Result<[usize; N], AthenaError> {
    let wrong = |line: u64, what: String| AthenaError {
        file: path.to_path_buf(),
        line,
        what,
    };
    let unread = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => wrong(0, "the file is missing; an Athena folder has it".into()),
        kind => wrong(0, format!("cannot be read: {kind}")),
    };
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(unread)?);
    let mut text = Vec::new();
    let (mut place, mut line) = (0u64, 0u64);
    let mut columns = [0usize; N];
    loop {
        text.clear();
        let read = reader.read_until(b'\n', &mut text).map_err(unread)?;
        if read == 0 {
            break;
        }
        line += 1;
        let begun = place;
        place += read as u64;
        let shown = std::str::from_utf8(&text).map_err(|_| wrong(line, "the line is not UTF-8".into()))?;
        let shown = shown.trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r']);
        if line == 1 {
            for (place, name) in columns.iter_mut().zip(names) {
                *place = shown
                    .split('\t')
                    .position(|column| column.trim().eq_ignore_ascii_case(name))
                    .ok_or_else(|| {
                        wrong(
                            1,
                            format!("the column {name} is missing, or the file is not tab-separated"),
                        )
                    })?;
            }
        } else if !shown.is_empty() {
            row(&columns, begun, shown).map_err(|what| wrong(line, what))?;
        }
    }
    match line {
        0 => Err(wrong(0, "the file is empty".into())),
        _ => Ok(columns),
    }
}

impl Athena {
    /// Opens a folder and reads both files once to index them.
    ///
    /// # Errors
    /// With file and line: a missing file or column, a row that is broken.
    pub fn open(dir: &Path) -> Result<Self, AthenaError> {
        let path = dir.join("CONCEPT.csv");
        let mut codes = Vec::new();
        let names = [
            "concept_id",
            "concept_name",
            "domain_id",
            "vocabulary_id",
            "standard_concept",
            "concept_code",
            "invalid_reason",
        ];
        let found = scan(&path, names, |columns, place, line| {
            let concept = of(columns)
                .concept(line)
                .ok_or("the row has no concept_id, or too few cells")?;
            codes.push((hash(&concept.vocabulary, &concept.code), place));
            Ok(())
        })?;
        codes.sort_unstable();
        let mut maps_to = Vec::new();
        let relationships = dir.join("CONCEPT_RELATIONSHIP.csv");
        let names = ["concept_id_1", "concept_id_2", "relationship_id", "invalid_reason"];
        scan(&relationships, names, |[one, two, relationship, invalid], _, line| {
            let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
            let cell = |index: &usize| cells.get(*index).copied().unwrap_or_default();
            if cell(relationship) == "Maps to" && cell(invalid).is_empty() {
                match (cell(one).parse(), cell(two).parse()) {
                    (Ok(one), Ok(two)) => maps_to.push((one, two)),
                    _ => return Err("concept_id_1 or concept_id_2 is no number".into()),
                }
            }
            Ok(())
        })?;
        maps_to.sort_unstable();
        let file = File::open(&path).map_err(|error| AthenaError {
            file: path.clone(),
            line: 0,
            what: format!("cannot be read: {}", error.kind()),
        })?;
        Ok(Self {
            path,
            file: Mutex::new(file),
            columns: of(&found),
            codes,
            maps_to,
        })
    }

    /// Concepts in the folder.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// True without concepts.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The concept with a code of a vocabulary, such as `LOINC` and `2345-7`; one that is valid before one that is not.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn find(&self, vocabulary: &str, code: &str) -> Result<Option<Concept>, AthenaError> {
        let hash = hash(vocabulary, code);
        let begin = self.codes.partition_point(|(known, _)| *known < hash);
        let mut found: Option<Concept> = None;
        for (_, place) in self.codes.iter().skip(begin).take_while(|(known, _)| *known == hash) {
            let concept = self.at(*place)?;
            if let Some(concept) = concept.filter(|c| c.vocabulary == vocabulary && c.code == code)
                && found.as_ref().is_none_or(|known| concept.valid && !known.valid)
            {
                found = Some(concept);
            }
        }
        Ok(found)
    }

    /// What a concept maps to (`Maps to`), itself among it where it is standard; empty where it maps to nothing.
    pub fn standard(&self, id: u32) -> impl Iterator<Item = u32> {
        let begin = self.maps_to.partition_point(|(from, _)| *from < id);
        let of_id = self.maps_to.iter().skip(begin).take_while(move |(from, _)| *from == id);
        of_id.map(|(_, to)| *to)
    }

    /// Calls with every valid concept of a vocabulary, in file order.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn each(&self, vocabulary: &str, mut call: impl FnMut(Concept)) -> Result<(), AthenaError> {
        scan(&self.path, ["concept_id"], |_, _, line| {
            if let Some(concept) = self
                .columns
                .concept(line)
                .filter(|c| c.valid && c.vocabulary == vocabulary)
            {
                call(concept);
            }
            Ok(())
        })
        .map(|_| ())
    }

    fn at(&self, place: u64) -> Result<Option<Concept>, AthenaError> {
        let unread = |error: io::Error| AthenaError {
            file: self.path.clone(),
            line: 0,
            what: format!("cannot be read: {}", error.kind()),
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(place)).map_err(unread)?;
        let mut line = Vec::new();
        BufReader::with_capacity(512, file.by_ref())
            .read_until(b'\n', &mut line)
            .map_err(unread)?;
        Ok(std::str::from_utf8(&line)
            .ok()
            .and_then(|line| self.columns.concept(line)))
    }
}

fn of(places: &[usize; 7]) -> Columns {
    let [id, name, domain, vocabulary, standard, code, invalid] = *places;
    Columns {
        id,
        name,
        domain,
        vocabulary,
        standard,
        code,
        invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const HEAD: &str = "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tstandard_concept\t\
                        concept_code\tvalid_start_date\tvalid_end_date\tinvalid_reason\n";
    const PAIRS: &str =
        "concept_id_1\tconcept_id_2\trelationship_id\tvalid_start_date\tvalid_end_date\tinvalid_reason\n";

    fn folder(concepts: &str, pairs: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("CONCEPT.csv"), format!("{HEAD}{concepts}")).unwrap();
        fs::write(dir.path().join("CONCEPT_RELATIONSHIP.csv"), format!("{PAIRS}{pairs}")).unwrap();
        dir
    }

    #[test]
    fn codes_lead_to_concepts_and_standard_ones() {
        let dir = folder(
            "3004501\tGlucose \"SerPl\"\tMeasurement\tLOINC\tLab Test\tS\t2345-7\t19700101\t20991231\t\n\
             45\tOld\tMeasurement\tLOINC\tLab Test\t\t1-8\t19700101\t20201231\tD\n\
             46\tNew\tMeasurement\tLOINC\tLab Test\t\t1-8\t20210101\t20991231\t\r\n",
            "46\t3004501\tMaps to\t19700101\t20991231\t\n46\t9\tMaps to\t19700101\t20991231\tD\n46\t8\tIs a\t1\t2\t\n",
        );
        let athena = Athena::open(dir.path()).unwrap();
        assert_eq!(athena.len(), 3);
        let glucose = athena.find("LOINC", "2345-7").unwrap().unwrap();
        assert_eq!(
            (glucose.id, glucose.standard, glucose.name.as_str()),
            (3_004_501, true, "Glucose \"SerPl\"")
        );
        let newer = athena.find("LOINC", "1-8").unwrap().unwrap();
        assert_eq!(athena.standard(newer.id).collect::<Vec<_>>(), [3_004_501]);
        assert_eq!(athena.find("SNOMED", "2345-7").unwrap(), None);
        let mut names = Vec::new();
        athena.each("LOINC", |concept| names.push(concept.name)).unwrap();
        assert_eq!(names, ["Glucose \"SerPl\"", "New"]);
    }

    #[test]
    fn what_is_missing_or_broken_is_named() {
        let said = |dir: &Path| Athena::open(dir).unwrap_err().to_string();
        let dir = folder("1\ta\tb\tc\td\tS\tx\t1\t2\t\n", "1\tx\tMaps to\t1\t2\t\n");
        assert!(said(dir.path()).ends_with("CONCEPT_RELATIONSHIP.csv:2: concept_id_1 or concept_id_2 is no number"));
        fs::remove_file(dir.path().join("CONCEPT_RELATIONSHIP.csv")).unwrap();
        assert!(said(dir.path()).ends_with("CONCEPT_RELATIONSHIP.csv: the file is missing; an Athena folder has it"));
        fs::write(dir.path().join("CONCEPT.csv"), "concept_id,concept_name\n1,a\n").unwrap();
        assert!(said(dir.path()).contains("CONCEPT.csv:1: the column concept_id is missing, or the file is not tab"));
        let dir = folder("one\ta\n", "");
        assert!(said(dir.path()).contains("CONCEPT.csv:2: the row has no concept_id"));
    }
}
