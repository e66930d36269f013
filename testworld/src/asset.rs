//! The Sentinel-2 assets: names, resolutions and how a band follows from brightness and greenness.

use std::fmt;

/// An asset of a scene, by its key in Earth Search v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asset {
    /// Band 2, 10 m.
    Blue,
    /// Band 3, 10 m.
    Green,
    /// Band 4, 10 m.
    Red,
    /// Band 8, 10 m.
    Nir,
    /// Band 8A, 20 m.
    Nir08,
    /// Scene classification, 20 m.
    Scl,
}

/// `reflectance = constant + sum × (red + nir) + difference × (nir − red)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Band {
    pub(crate) constant: f64,
    pub(crate) sum: f64,
    pub(crate) difference: f64,
}

impl Band {
    pub(crate) fn reflectance(self, sum: f64, difference: f64) -> f64 {
        self.constant + self.sum * sum + self.difference * difference
    }
}

impl Asset {
    /// All assets, in the order of the items.
    pub const ALL: [Asset; 6] = [Asset::Blue, Asset::Green, Asset::Red, Asset::Nir, Asset::Nir08, Asset::Scl];

    /// The key in the item's assets, also the stem of the file name.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Asset::Blue => "blue",
            Asset::Green => "green",
            Asset::Red => "red",
            Asset::Nir => "nir",
            Asset::Nir08 => "nir08",
            Asset::Scl => "scl",
        }
    }

    /// The asset of a key.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        Asset::ALL.into_iter().find(|asset| asset.key() == key)
    }

    /// Side of a pixel, metres.
    #[must_use]
    pub fn resolution_m(self) -> f64 {
        match self {
            Asset::Nir08 | Asset::Scl => 20.0,
            _ => 10.0,
        }
    }

    /// Pixels along a side of the tile.
    #[must_use]
    pub fn size_px(self) -> usize {
        match self {
            Asset::Nir08 | Asset::Scl => 5490,
            _ => 10_980,
        }
    }

    /// The band's formula: red and near infrared give NDVI exactly, the others are mixtures of the two.
    pub(crate) fn band(self) -> Option<Band> {
        let (constant, sum, difference) = match self {
            Asset::Blue => (0.012, 0.20, -0.20),
            Asset::Green => (0.010, 0.35, -0.25),
            Asset::Red => (0.0, 0.5, -0.5),
            Asset::Nir => (0.0, 0.5, 0.5),
            Asset::Nir08 => (0.0, 0.515, 0.515),
            Asset::Scl => return None,
        };
        Some(Band { constant, sum, difference })
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.key())
    }
}
