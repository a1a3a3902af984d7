//! `clinmill export`: a release in the form of a standard model.

use crate::{
    args::{self, ExportModel},
    context::{Context, no_release},
    failure::{Failure, OK},
    output::{Grid, counted, thousands},
};
use clinmill_engine::export::{self, Exported};

/// Exports a release into a new folder.
///
/// # Errors
/// When there is no release, the folder holds something, or a file cannot be read or written.
pub async fn run(context: &Context, args: &args::Export) -> Result<u8, Failure> {
    let bound = context.bind(&args.file).await?;
    let dataset = context.dataset_of(&bound)?;
    let release = match args.release {
        Some(number) => {
            context.known_release(&dataset, number).await?;
            Some(dataset.release(number).await?)
        }
        None => dataset.latest().await?,
    };
    let Some(release) = release else {
        return Err(no_release());
    };
    let exported = match args.model {
        ExportModel::Meds => export::meds(&bound, &dataset, &release, &args.dir).await?,
    };
    if !exported.deidentified {
        let message = "the release is not de-identified: the export must not leave the hospital";
        context.console.warn(Some("NOT_DEIDENTIFIED"), message);
    }
    context.console.result(&exported, || text(&exported))?;
    Ok(OK)
}

fn text(exported: &Exported) -> String {
    let mut grid = Grid::new(["table", ">events"]);
    for (table, events) in &exported.events {
        grid.row([table.clone(), thousands(*events)]);
    }
    let subjects: Vec<String> = exported
        .subjects
        .iter()
        .map(|(split, n)| format!("{} {split}", thousands(*n)))
        .collect();
    let mut text = format!(
        "release {} as MEDS 0.4: {}; subjects: {}\n\n{grid}",
        exported.release,
        counted(exported.codes, "code", "codes"),
        subjects.join(", ")
    );
    if !exported.left_out.is_empty() {
        text.push_str(&format!(
            "\nwithout events of the model: {}\n",
            exported.left_out.join(", ")
        ));
    }
    text
}
