//! Parts of an HDF5 file in another one: numbers of any type, attributes, small data sets.

use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenArray, VarLenAscii, VarLenUnicode};
use hdf5::{Attribute, Dataset, Datatype, File, Group, H5Type, Location, ObjectReference1};

/// Attributes by which HDF5 and NetCDF tie axes to variables: they point at objects of their own file, or say that an
/// object is an axis.
const TIES: [&str; 6] = [DIMENSIONS, "REFERENCE_LIST", CLASS, "NAME", "_Netcdf4Coordinates", "_Netcdf4Dimid"];
const DIMENSIONS: &str = "DIMENSION_LIST";
const CLASS: &str = "CLASS";

/// A type of numbers, with what stands for a missing one where the file does not say.
pub(crate) trait Number: H5Type + Copy + PartialEq {
    const MISSING: Self;
}

macro_rules! numbers {
    ($($kind:ty: $missing:expr),*) => { $(impl Number for $kind { const MISSING: $kind = $missing; })* };
}

// -9999 is SMAP's own.
numbers!(f32: -9999.0, f64: -9999.0, i8: i8::MIN, i16: i16::MIN, i32: i32::MIN, i64: i64::MIN);
numbers!(u8: u8::MAX, u16: u16::MAX, u32: u32::MAX, u64: u64::MAX);

/// Calls `$body` with `$t` as the Rust type of a numeric type of HDF5, or gives `$other`.
macro_rules! with_number {
    ($kind:expr, $t:ident => $body:expr, $other:expr) => {{
        use hdf5::types::{FloatSize, IntSize, TypeDescriptor};
        match $kind {
            TypeDescriptor::Float(FloatSize::U4) => {
                type $t = f32;
                $body
            }
            TypeDescriptor::Float(FloatSize::U8) => {
                type $t = f64;
                $body
            }
            TypeDescriptor::Integer(IntSize::U1) => {
                type $t = i8;
                $body
            }
            TypeDescriptor::Integer(IntSize::U2) => {
                type $t = i16;
                $body
            }
            TypeDescriptor::Integer(IntSize::U4) => {
                type $t = i32;
                $body
            }
            TypeDescriptor::Integer(IntSize::U8) => {
                type $t = i64;
                $body
            }
            TypeDescriptor::Unsigned(IntSize::U1) => {
                type $t = u8;
                $body
            }
            TypeDescriptor::Unsigned(IntSize::U2) => {
                type $t = u16;
                $body
            }
            TypeDescriptor::Unsigned(IntSize::U4) => {
                type $t = u32;
                $body
            }
            TypeDescriptor::Unsigned(IntSize::U8) => {
                type $t = u64;
                $body
            }
            _ => $other,
        }
    }};
}
pub(crate) use with_number;

/// Copies all attributes that are numbers or texts, in the types they have, to an object that has none of them.
///
/// # Errors
/// What the library says when it cannot write.
pub(crate) fn copy_attributes(from: &Location, to: &Location) -> hdf5::Result<()> {
    for name in from.attr_names()? {
        if TIES.contains(&name.as_str()) {
            continue;
        }
        copy_attribute(&from.attr(&name)?, to, &name)?;
    }
    Ok(())
}

/// Says of a copied axis that it is one, where the old one was.
///
/// # Errors
/// What the library says when it cannot write.
pub(crate) fn copy_scale(from: &Dataset, to: &Dataset) -> hdf5::Result<()> {
    for name in [CLASS, "NAME"] {
        if is_scale(from)
            && let Ok(attr) = from.attr(name)
        {
            copy_attribute(&attr, to, name)?;
        }
    }
    Ok(())
}

/// Ties a copied variable to the axes of its file, row axis first, where the old one was tied and these are axes.
///
/// # Errors
/// What the library says when it cannot write.
pub(crate) fn copy_dimensions(
    from: &Dataset,
    to: &Dataset,
    file: &File,
    axes: [&str; 2],
) -> hdf5::Result<()> {
    let is_axis = |name: &str| file.dataset(name).is_ok_and(|axis| is_scale(&axis));
    if from.attr(DIMENSIONS).is_err() || !axes.into_iter().all(is_axis) {
        return Ok(());
    }
    let lists = axes.map(|axis| Ok(VarLenArray::from_slice(&[file.reference::<ObjectReference1>(axis)?])));
    let lists: Vec<VarLenArray<ObjectReference1>> = lists.into_iter().collect::<hdf5::Result<_>>()?;
    to.new_attr_builder().with_data(&lists).create(DIMENSIONS).map(|_| ())
}

fn is_scale(data: &Dataset) -> bool {
    let class = data.attr(CLASS).and_then(|attr| attr.read_scalar::<FixedAscii<64>>());
    class.is_ok_and(|class| class.as_str() == "DIMENSION_SCALE")
}

fn copy_attribute(attr: &Attribute, to: &Location, name: &str) -> hdf5::Result<()> {
    let kind = attr.dtype()?;
    // Objects that only another library understands have no descriptor.
    let Ok(descriptor) = kind.to_descriptor() else { return Ok(()) };
    let kind = &kind;
    match &descriptor {
        TypeDescriptor::FixedAscii(len) if *len <= 256 => put::<FixedAscii<256>>(attr, kind, to, name),
        TypeDescriptor::FixedAscii(len) if *len <= 4096 => put::<FixedAscii<4096>>(attr, kind, to, name),
        TypeDescriptor::FixedAscii(_) => put::<FixedAscii<65_536>>(attr, kind, to, name),
        TypeDescriptor::FixedUnicode(len) if *len <= 256 => put::<FixedUnicode<256>>(attr, kind, to, name),
        TypeDescriptor::FixedUnicode(len) if *len <= 4096 => put::<FixedUnicode<4096>>(attr, kind, to, name),
        TypeDescriptor::FixedUnicode(_) => put::<FixedUnicode<65_536>>(attr, kind, to, name),
        TypeDescriptor::VarLenAscii => put::<VarLenAscii>(attr, kind, to, name),
        TypeDescriptor::VarLenUnicode => put::<VarLenUnicode>(attr, kind, to, name),
        other => with_number!(other, T => put::<T>(attr, kind, to, name), Ok(())),
    }
}

fn put<T: H5Type>(attr: &Attribute, kind: &Datatype, to: &Location, name: &str) -> hdf5::Result<()> {
    // What cannot be read, such as an attribute without a value, is left out.
    let Ok(values) = attr.read_dyn::<T>() else { return Ok(()) };
    to.new_attr_builder().with_data_as(values.view(), kind).create(name).map(|_| ())
}

/// Copies a small data set: its type, its attributes, and its values where they are numbers.
///
/// # Errors
/// What the library says.
pub(crate) fn copy_small(from: &Dataset, to: &Group, name: &str) -> hdf5::Result<()> {
    let kind = from.dtype()?.to_descriptor()?;
    let copy = with_number!(
        &kind,
        T => to.new_dataset_builder().with_data(from.read_dyn::<T>()?.view()).create(name),
        to.new_dataset_builder().empty_as(&kind).shape(from.shape()).create(name)
    )?;
    copy_attributes(from, &copy)
}

/// What stands for a missing value in a data set, by its attribute or by what HDF5 gives for cells never written.
pub(crate) fn missing_value<T: Number>(from: &Dataset) -> T {
    let told = from.attr("_FillValue").and_then(|attr| attr.read_raw::<T>()).ok();
    told.and_then(|values| values.first().copied()).unwrap_or(T::MISSING)
}

/// Writes a text attribute.
///
/// # Errors
/// What the library says.
pub(crate) fn put_text(to: &Location, name: &str, text: &str) -> hdf5::Result<()> {
    let text: VarLenUnicode =
        text.parse().map_err(|_| hdf5::Error::Internal(format!("{name}: a text with a zero byte")))?;
    to.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_keep_types_and_values() {
        let dir = tempfile::tempdir().unwrap();
        let old = File::create(dir.path().join("old.h5")).unwrap();
        let long = "wide ".repeat(100);
        old.new_attr::<FixedAscii<10>>()
            .create("fixed")
            .unwrap()
            .write_scalar(&FixedAscii::<10>::from_ascii("m3 m-3").unwrap())
            .unwrap();
        old.new_attr::<FixedAscii<500>>()
            .create("long")
            .unwrap()
            .write_scalar(&FixedAscii::<500>::from_ascii(&long).unwrap())
            .unwrap();
        put_text(&old, "free", "Wärme").unwrap();
        old.new_attr_builder().with_data(&[1.5_f32, 2.5]).create("floats").unwrap();
        old.new_attr::<i16>().create("count").unwrap().write_scalar(&-7).unwrap();
        put_text(&old, "CLASS", "DIMENSION_SCALE").unwrap();
        let new = File::create(dir.path().join("new.h5")).unwrap();
        copy_attributes(&old, &new).unwrap();
        assert_eq!(new.attr_names().unwrap(), ["count", "fixed", "floats", "free", "long"]);
        let kind =
            |file: &File, name: &str| file.attr(name).unwrap().dtype().unwrap().to_descriptor().unwrap();
        for name in ["count", "fixed", "floats", "free", "long"] {
            assert_eq!(kind(&new, name), kind(&old, name), "{name}");
        }
        let text = |name: &str| {
            new.attr(name).unwrap().read_scalar::<FixedAscii<600>>().unwrap().as_str().to_owned()
        };
        assert_eq!((text("fixed").as_str(), text("long")), ("m3 m-3", long));
        assert_eq!(new.attr("free").unwrap().read_scalar::<VarLenUnicode>().unwrap().as_str(), "Wärme");
        assert_eq!(new.attr("floats").unwrap().read_raw::<f32>().unwrap(), [1.5, 2.5]);
        assert_eq!(new.attr("count").unwrap().read_scalar::<i16>().unwrap(), -7);
    }

    #[test]
    fn a_small_data_set_is_copied_with_its_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let old = File::create(dir.path().join("old.h5")).unwrap();
        let time = old.new_dataset_builder().with_data(&[7.5_f64]).create("time").unwrap();
        put_text(&time, "units", "seconds").unwrap();
        let mapping = old.new_dataset::<FixedAscii<1>>().shape(1).create("projection").unwrap();
        put_text(&mapping, "grid_mapping_name", "lambert_cylindrical_equal_area").unwrap();
        let new = File::create(dir.path().join("new.h5")).unwrap();
        for name in ["time", "projection"] {
            copy_small(&old.dataset(name).unwrap(), &new, name).unwrap();
        }
        assert_eq!(new.dataset("time").unwrap().read_raw::<f64>().unwrap(), [7.5]);
        assert_eq!(new.dataset("projection").unwrap().shape(), [1]);
        let name = new.dataset("projection").unwrap().attr("grid_mapping_name").unwrap();
        assert_eq!(name.read_scalar::<VarLenUnicode>().unwrap().as_str(), "lambert_cylindrical_equal_area");
    }
}
