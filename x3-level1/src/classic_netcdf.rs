//! How long a classic NetCDF file must be: the library reads what is missing at its end as zeros.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

/// Bytes that a file in one of the classic formats (CDF-1, CDF-2, CDF-5) has by its header, without padding at the end;
/// `None` for other formats.
///
/// By the NetCDF Classic Format Specification of Unidata (netCDF: doi:10.5065/D6H70CW6).
///
/// # Errors
/// If the file cannot be read, or ends within the header.
pub(crate) fn expected_length(path: &Path) -> io::Result<Option<u64>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut magic = [0; 4];
    let version = match file.read_exact(&mut magic) {
        Ok(()) if magic.starts_with(b"CDF") && [1, 2, 5].contains(&magic[3]) => magic[3],
        Ok(()) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    Header { file, version }.expected_length().map(Some)
}

struct Header<R> {
    file: BufReader<R>,
    version: u8,
}

/// Where a variable begins and how many bytes it has, of one record if it has records.
struct Extent {
    begin: u64,
    bytes: u64,
    records: bool,
}

impl<R: Read + Seek> Header<R> {
    fn expected_length(mut self) -> io::Result<u64> {
        let records = self.count()?;
        // A file that was being written as a stream does not say how many records it has.
        let streaming = if self.version == 5 { u64::MAX } else { u64::from(u32::MAX) };
        let records = if records == streaming { 0 } else { records };
        let dimensions = self.list(|header| {
            header.name()?;
            header.count()
        })?;
        self.attributes()?;
        let variables = self.list(|header| header.variable(&dimensions))?;
        let record_bytes = match variables.iter().filter(|var| var.records).collect::<Vec<_>>()[..] {
            [single] => single.bytes,
            ref several => several.iter().map(|var| padded(var.bytes)).sum(),
        };
        let end = |var: &Extent| match (var.records, records) {
            (true, 0) => 0,
            (true, records) => {
                var.begin.saturating_add(record_bytes.saturating_mul(records - 1)).saturating_add(var.bytes)
            }
            (false, _) => var.begin.saturating_add(var.bytes),
        };
        Ok(variables.iter().map(end).max().unwrap_or(0).max(self.file.stream_position()?))
    }

    fn variable(&mut self, dimensions: &[u64]) -> io::Result<Extent> {
        self.name()?;
        let rank = self.count()?;
        let mut bytes = 1u64;
        let mut records = false;
        for index in 0..rank {
            let id = self.count()?;
            match usize::try_from(id).ok().and_then(|id| dimensions.get(id)) {
                Some(0) if index == 0 => records = true,
                Some(&length) => bytes = bytes.saturating_mul(length),
                None => return Err(invalid("a variable has a dimension that is not there")),
            }
        }
        self.attributes()?;
        let width = self.width()?;
        // The size that is written here may be too small for large variables: the dimensions say it.
        self.count()?;
        let begin = if self.version == 1 { u64::from(self.u32()?) } else { self.u64()? };
        Ok(Extent { begin, bytes: bytes.saturating_mul(width), records })
    }

    fn attributes(&mut self) -> io::Result<()> {
        self.list(|header| {
            header.name()?;
            let width = header.width()?;
            let values = header.count()?;
            header.skip(values.saturating_mul(width))
        })?;
        Ok(())
    }

    /// A list of dimensions, attributes or variables: a tag, the length, the entries.
    fn list<T>(&mut self, mut entry: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        self.u32()?;
        (0..self.count()?).map(|_| entry(self)).collect()
    }

    /// Bytes of a number of the type that comes next.
    fn width(&mut self) -> io::Result<u64> {
        match self.u32()? {
            1 | 2 | 7 => Ok(1),
            3 | 8 => Ok(2),
            4 | 5 | 9 => Ok(4),
            6 | 10 | 11 => Ok(8),
            _ => Err(invalid("a type that is none of the format's")),
        }
    }

    fn name(&mut self) -> io::Result<()> {
        let length = self.count()?;
        self.skip(length)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = i64::try_from(padded(bytes)).map_err(|_| invalid("a length beyond any file"))?;
        self.file.seek_relative(bytes)
    }

    /// A length or an index.
    fn count(&mut self) -> io::Result<u64> {
        if self.version == 5 { self.u64() } else { Ok(u64::from(self.u32()?)) }
    }

    fn u32(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn u64(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }
}

/// Everything begins at a multiple of four bytes.
fn padded(bytes: u64) -> u64 {
    bytes.saturating_add(3) / 4 * 4
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use netcdf::Options;

    use super::*;

    /// Files by the library itself: with fixed variables, with one variable of records and with two, whose lengths are not
    /// multiples of four bytes. Only padding may follow.
    #[test]
    fn lengths_of_files_by_the_library() {
        for (options, magic) in
            [(|| Options::empty(), 1), (|| Options::_64BIT_OFFSET, 2), (|| Options::_64BIT_DATA, 5)]
                as [(fn() -> Options, u8); 3]
        {
            for (records, variables) in [(0, 2), (5, 1), (5, 2)] {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("classic.nc");
                let mut file = netcdf::create_with(&path, options()).unwrap();
                file.add_attribute("title", "some text").unwrap();
                file.add_dimension("x", 3).unwrap();
                let dims: &[&str] = if records > 0 { &["time", "x"] } else { &["x"] };
                if records > 0 {
                    file.add_unlimited_dimension("time").unwrap();
                }
                for index in 0..variables {
                    let mut var = file.add_variable::<i16>(&format!("v{index}"), dims).unwrap();
                    var.put_attribute("scale_factor", 0.5).unwrap();
                }
                file.enddef().unwrap();
                for index in 0..variables {
                    let mut var = file.variable_mut(&format!("v{index}")).unwrap();
                    let values = vec![7i16; 3 * usize::max(records, 1)];
                    if records > 0 {
                        var.put_values(&values, (0..records, 0..3)).unwrap();
                    } else {
                        var.put_values(&values, ..).unwrap();
                    }
                }
                file.close().unwrap();
                assert_eq!(fs::read(&path).unwrap()[..4], [b'C', b'D', b'F', magic]);
                let (found, expected) = (fs::metadata(&path).unwrap().len(), expected_length(&path).unwrap());
                let expected = expected.unwrap();
                assert!(
                    (expected..expected + 4).contains(&found),
                    "CDF-{magic}, {records} records of {variables}: {expected}, is {found}"
                );
            }
        }
    }

    #[test]
    fn other_files_and_cut_headers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.nc");
        fs::write(&path, b"\x89HDF\r\n\x1a\n").unwrap();
        assert_eq!(expected_length(&path).unwrap(), None);
        fs::write(&path, b"CD").unwrap();
        assert_eq!(expected_length(&path).unwrap(), None);
        fs::write(&path, b"CDF\x01\0\0\0\x05\0\0").unwrap();
        assert_eq!(expected_length(&path).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
