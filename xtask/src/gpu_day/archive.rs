//! A folder's files as one that can be sent.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};
use rawzip::ZipArchiveWriter;

/// Writes the files of `folder` into a ZIP file, as they are.
pub fn pack(folder: &Path, file: &Path) -> Result<()> {
    let write = || -> Result<()> {
        let mut archive = ZipArchiveWriter::new(BufWriter::new(File::create(file)?));
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let mut paths: Vec<_> =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        paths.sort();
        for path in paths.iter().filter(|path| path.is_file()) {
            let inside = format!("{name}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            let (mut entry, config) = archive.new_file(&inside).start()?;
            let mut writer = config.wrap(&mut entry);
            std::io::copy(&mut File::open(path)?, &mut writer)?;
            let (_, descriptor) = writer.finish()?;
            entry.finish(descriptor)?;
        }
        archive.finish()?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_there_as_it_was() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("day");
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("01-devices.txt"), "an adapter\n").expect("a file");
        fs::write(folder.join("summary.md"), "# A Card\n").expect("a file");
        let file = parent.path().join("day.zip");
        pack(&folder, &file).expect("an archive");
        let bytes = fs::read(&file).expect("the archive");
        let archive = rawzip::ZipArchive::from_slice(&bytes).expect("an archive");
        let mut found = Vec::new();
        let mut entries = archive.entries();
        while let Some(entry) = entries.next_entry().expect("an entry") {
            let name = entry.file_path().try_normalize().expect("a name").as_ref().to_owned();
            let data = archive.get_entry(entry.wayfinder()).expect("its data").data();
            found.push((name, String::from_utf8_lossy(data).into_owned()));
        }
        let expected = [("day/01-devices.txt", "an adapter\n"), ("day/summary.md", "# A Card\n")];
        assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }
}
