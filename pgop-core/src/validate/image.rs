//! The image of a server, and the major version of `PostgreSQL` that its data has: no other one can read it.

use super::before::Before;
use crate::crd::{Accepted, Postgres};
use crate::invalid::Invalid;

/// The version of a new resource whose spec names none.
const DEFAULT_VERSION: &str = "17";

/// An image, and its major version where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) version: Option<u32>,
}

impl Image {
    /// What was accepted.
    fn accepted(accepted: &Accepted) -> Self {
        Self {
            name: accepted.image.clone(),
            version: accepted.version.as_deref().and_then(major),
        }
    }
}

/// The image that a spec asks for; `kept` is the version that was chosen for it before, which stays whatever a newer pgop would choose.
pub(super) fn image_of(postgres: &Postgres, kept: Option<&str>) -> Image {
    let version = postgres.version.as_deref();
    if let Some(image) = &postgres.image {
        return Image {
            name: image.clone(),
            version: version.and_then(major).or_else(|| major_of_tag(image)),
        };
    }
    let version = version.or(kept).unwrap_or(DEFAULT_VERSION);
    Image {
        name: format!("postgres:{version}"),
        version: major(version),
    }
}

/// The image to run: the one that is asked for, unless it could not read the data.
pub(super) fn check_image(postgres: &Postgres, before: &Before<'_>, invalid: &mut Vec<Invalid>) -> Image {
    let asked = image_of(postgres, before.version());
    let Some(old) = before.of_data() else {
        return asked;
    };
    let field = match (&postgres.image, &postgres.version) {
        (Some(_), _) => "spec.postgres.image",
        (None, _) => "spec.postgres.version",
    };
    if postgres.version.is_none() && postgres.image.is_none() && old.version.is_none() {
        let problem = format!(
            "is not given, and the data was made with {}, whose version is not known",
            old.image
        );
        invalid.push(Invalid::change(
            field,
            problem,
            "give the major version of the data, or that image",
        ));
        return Image::accepted(old);
    }
    if let Some((was, is)) = another_major(old, &asked) {
        let problem = format!("asks for PostgreSQL {is}, and the data has the format of {was}, which {is} can't read");
        let mut mend = "set it back; a dump goes into a new resource of another version".to_owned();
        if postgres.image.is_some() && postgres.version.is_none() {
            mend.push_str("; if the image's tag is no version of PostgreSQL, give spec.postgres.version before you change the image");
        }
        invalid.push(Invalid::change(field, problem, mend));
        return Image::accepted(old);
    }
    Image {
        version: asked.version.or_else(|| old.version.as_deref().and_then(major)),
        ..asked
    }
}

/// The major versions of the data and of the image that is asked for, where both are known and differ.
fn another_major(old: &Accepted, asked: &Image) -> Option<(u32, u32)> {
    if old.image == asked.name {
        return None;
    }
    let was = old.version.as_deref().and_then(major)?;
    // The tag counts even where the spec names a version, which is easily left behind; but only if tags were versions before.
    let tag = major_of_tag(&asked.name).filter(|_| major_of_tag(&old.image) == Some(was));
    let is = tag.or(asked.version)?;
    (is != was).then_some((was, is))
}

/// The major version of a version such as `17` or `17.2`, if pgop knows how to run it.
pub(super) fn major(version: &str) -> Option<u32> {
    let digits = version.split('.').next()?;
    let number: u32 = digits.parse().ok()?;
    (14..=99).contains(&number).then_some(number)
}

/// The major version that an image's tag tells: `postgres:17.2-bookworm`, `postgis:16-3.4`, `timescaledb:2.14-pg16`.
pub(super) fn major_of_tag(image: &str) -> Option<u32> {
    let name = image.split('@').next()?;
    let (_, tag) = name.rsplit('/').next()?.split_once(':')?;
    let mut parts = tag.split(['-', '_']);
    let named = parts.clone().find_map(|part| major(part.strip_prefix("pg")?));
    named.or_else(|| major(parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_the_major_version_where_it_starts_with_one_or_names_pg() {
        for (image, version) in [
            ("postgres:17", Some(17)),
            ("postgres:17.2-bookworm", Some(17)),
            ("registry:5000/lab/postgres:15", Some(15)),
            ("registry:5000/lab/postgres", None),
            ("postgres", None),
            ("postgis/postgis:16-3.4", Some(16)),
            ("timescale/timescaledb:2.14.2-pg16", Some(16)),
            ("timescale/timescaledb-ha:pg16.2-ts2.14", Some(16)),
            ("postgres:16@sha256:00", Some(16)),
            ("postgres@sha256:17", None),
            ("postgres:latest", None),
            ("own:2026-11-29", None),
            ("own:9.6", None),
        ] {
            assert_eq!(major_of_tag(image), version, "{image}");
        }
    }
}
