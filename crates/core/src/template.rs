//! The image line of a Compose service as written, before variables are replaced.
//!
//! cutover deploys by giving Compose another value for one variable: the one that is the tag, the digest, or the
//! whole image. So the line must have such a variable, and it must decide nothing else. This module reads
//! the line in the syntax of Compose's own interpolation (`$NAME`, `${NAME}`, `${NAME:-default}`,
//! `${NAME:?message}`, `$$` for a dollar sign) and otherwise says which line to write instead.

mod syntax;
mod variable;

use std::fmt;

use self::syntax::{Borders, Kind, Piece, pieces};
pub use self::variable::TagVariable;

/// What a suggestion says where the line does not tell the repository.
const UNKNOWN_REPOSITORY: &str = "REPOSITORY";

/// What a digest begins with: registries use no other algorithm.
const ALGORITHM: &str = "sha256:";

/// What the variable of an image line stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// The tag.
    Tag,
    /// The whole image, its tag included.
    Image,
    /// The digest, or a part of it: Docker follows it, whatever tag is written beside it.
    Digest(DigestPart),
}

/// How much of a digest a variable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestPart {
    /// All of it, as in `shop@${DIGEST}`.
    Whole,
    /// What follows the name of the algorithm, as in `shop@sha256:${HASH}`.
    Hex,
}

/// An image line that a deployment can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTemplate {
    /// The variable that a deployment sets, for example `APP_IMAGE_TAG`.
    pub tag_variable: String,
    /// Whether it is the tag, the digest, or the whole image.
    pub carries: Carries,
    /// Registry and repository as written, for example `${REGISTRY}/shop`; may contain other variables. The whole line
    /// where the variable is the whole image.
    pub repository_template: String,
}

/// The image without its tag and its digest, which may be written with variables; none where nothing is left.
#[must_use]
pub fn without_tag(image: &str) -> Option<&str> {
    let pieces = pieces(image).ok()?;
    let borders = Borders::of(&pieces, image.len());
    let repository = &image[..borders.repository_end];
    (!repository.is_empty()).then_some(repository)
}

/// Why no tag variable could be found in an image line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateProblem {
    /// There is no image line, or it is empty.
    NoImage,
    /// No tag is written.
    NoTag,
    /// The tag is written out.
    FixedTag(String),
    /// A digest is written out, with or without a tag: Docker would follow it and not the tag.
    Digest,
    /// The digest consists of several parts, for example `sha256:${A}${B}`.
    DigestOfParts(String),
    /// Tag and digest have a variable each; these two.
    TagAndDigest(String, String),
    /// The tag consists of several parts, for example `v${TAG}`.
    TagOfParts(String),
    /// `${NAME:+text}`: the tag or digest would be the text and not the variable's value.
    Replaced(String),
    /// The variable stands in the repository as well, so another tag would be another repository.
    InRepository(String),
    /// The line is not in the syntax of Compose's interpolation; the part that is not.
    Syntax(String),
}

/// An image line that a deployment cannot use, with what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the image `{image}` {problem}")]
pub struct TemplateError {
    /// The line as written.
    pub image: String,
    /// What is wrong with it.
    pub problem: TemplateProblem,
    repository: String,
}

impl TemplateError {
    /// The line to write instead for the Compose service `service`, for example
    /// `image: ghcr.io/acme/shop:${SHOP_IMAGE_TAG}`.
    #[must_use]
    pub fn suggestion(&self, service: &str) -> String {
        let variable = suggested_variable(service);
        format!("image: {}:${{{variable}}}", self.repository)
    }
}

impl TemplateError {
    /// Repository and tag as written, where a variable in the tag's place is all that the line lacks.
    #[must_use]
    pub fn fixable(&self) -> Option<(String, Option<String>)> {
        match &self.problem {
            TemplateProblem::NoTag => Some((self.repository.clone(), None)),
            TemplateProblem::FixedTag(tag) => Some((self.repository.clone(), Some(tag.clone()))),
            _ => None,
        }
    }
}

impl fmt::Display for TemplateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoImage => f.write_str("is missing: cutover runs images and does not build them"),
            Self::NoTag => f.write_str("has no tag: it needs a variable there"),
            Self::FixedTag(tag) => {
                write!(f, "has the fixed tag `{tag}`: it needs a variable there")
            }
            Self::Digest => f.write_str(
                "is pinned to a digest that is written out: it needs a variable as its tag, and no digest",
            ),
            Self::DigestOfParts(digest) => write!(
                f,
                "has the digest `{digest}`, which is more than one variable: one variable must be the whole digest, or all that follows `sha256:`"
            ),
            Self::TagAndDigest(tag, digest) => write!(
                f,
                "has a variable for its tag, {tag}, and one for its digest, {digest}, which Docker follows: it needs one of the two"
            ),
            Self::TagOfParts(tag) => write!(
                f,
                "has the tag `{tag}`, which is more than one variable: one variable must be the whole tag"
            ),
            Self::Replaced(variable) => write!(
                f,
                "replaces the value of {variable} by other text: the value itself must stand there"
            ),
            Self::InRepository(variable) => write!(
                f,
                "uses {variable} in the repository as well: tag or digest needs a variable of its own"
            ),
            Self::Syntax(part) => write!(f, "cannot be read by Compose at `{part}`"),
        }
    }
}

/// Reads an image line as written in the Compose file.
///
/// # Errors
/// Every line of which neither the tag, nor the digest, nor the whole is one variable; the error names the problem and the line to write.
pub fn image_template(image: &str) -> Result<ImageTemplate, TemplateError> {
    read(image).map_err(|(problem, repository)| TemplateError {
        image: image.to_owned(),
        problem,
        repository: repository.unwrap_or(UNKNOWN_REPOSITORY).to_owned(),
    })
}

/// Whether nothing stands in `text`, a value in the syntax of Compose's interpolation, where `variable` is not set: its
/// value is used as it is, without a default.
#[must_use]
pub fn is_blank_without(text: &str, variable: &str) -> bool {
    let is_blank = |piece: &Piece<'_>| match piece.kind {
        Kind::Character(_) => false,
        Kind::Variable {
            name, operator: "", ..
        } => name == variable,
        // A default is a value again; a message or a replacement is never seen without the variable.
        Kind::Variable {
            operator, argument, ..
        } => operator.ends_with('-') && is_blank_without(argument, variable),
    };
    pieces(text).is_ok_and(|pieces| pieces.iter().any(is_blank))
}

/// Reads an image line; beside a problem, the repository as far as it could be told.
fn read(image: &str) -> Result<ImageTemplate, (TemplateProblem, Option<&str>)> {
    let pieces = pieces(image).map_err(|part| (TemplateProblem::Syntax(part.to_owned()), None))?;
    let borders = Borders::of(&pieces, image.len());
    let repository = &image[..borders.repository_end];
    let known = Some(repository).filter(|repository| !repository.is_empty());
    match (&pieces[..], borders.tag_start) {
        ([], _) => return Err((TemplateProblem::NoImage, None)),
        _ if borders.digest_start.is_some() => {
            return read_digest(image, &pieces, &borders).map_err(|problem| (problem, known));
        }
        (whole @ [_], _) if matches!(whole[0].kind, Kind::Variable { .. }) => {
            return match tag_variable(whole, image) {
                Ok(name) => Ok(ImageTemplate {
                    tag_variable: name.to_owned(),
                    carries: Carries::Image,
                    repository_template: image.to_owned(),
                }),
                Err(problem) => Err((problem, None)),
            };
        }
        _ => {}
    }
    let Some(tag_start) = borders.tag_start else {
        return Err((TemplateProblem::NoTag, known));
    };
    let (before, tag) = pieces.split_at(pieces.partition_point(|piece| piece.start < tag_start));
    let name = tag_variable(tag, &image[tag_start..]).map_err(|problem| (problem, known))?;
    if before.iter().any(|piece| piece.mentions(name)) {
        return Err((TemplateProblem::InRepository(name.to_owned()), known));
    }
    Ok(ImageTemplate {
        tag_variable: name.to_owned(),
        carries: Carries::Tag,
        repository_template: repository.to_owned(),
    })
}

/// Reads an image line that has a digest.
fn read_digest(
    image: &str,
    pieces: &[Piece<'_>],
    borders: &Borders,
) -> Result<ImageTemplate, TemplateProblem> {
    let start = borders.digest_start.unwrap_or(image.len());
    let (before, digest) = pieces.split_at(pieces.partition_point(|piece| piece.start < start));
    let text = &image[start..];
    let (part, digest, text) = match text.strip_prefix(ALGORITHM) {
        Some(hex) => (DigestPart::Hex, &digest[ALGORITHM.len()..], hex),
        None => (DigestPart::Whole, digest, text),
    };
    let name = tag_variable(digest, text).map_err(|problem| match problem {
        TemplateProblem::NoTag | TemplateProblem::FixedTag(_) => TemplateProblem::Digest,
        TemplateProblem::TagOfParts(_) => TemplateProblem::DigestOfParts(image[start..].to_owned()),
        other => other,
    })?;
    let tag_start = borders.tag_start.unwrap_or(start);
    let in_tag = before.iter().find_map(|piece| match piece.kind {
        Kind::Variable { name, .. } if piece.start >= tag_start => Some(name),
        _ => None,
    });
    if let Some(tag) = in_tag {
        let (tag, digest) = (tag.to_owned(), name.to_owned());
        return Err(TemplateProblem::TagAndDigest(tag, digest));
    }
    if before.iter().any(|piece| piece.mentions(name)) {
        return Err(TemplateProblem::InRepository(name.to_owned()));
    }
    Ok(ImageTemplate {
        tag_variable: name.to_owned(),
        carries: Carries::Digest(part),
        repository_template: image[..borders.repository_end].to_owned(),
    })
}

/// The variable that is the whole tag, given the pieces of the tag and its text.
fn tag_variable<'a>(tag: &[Piece<'a>], text: &str) -> Result<&'a str, TemplateProblem> {
    match tag {
        [] => Err(TemplateProblem::NoTag),
        [
            Piece {
                kind: Kind::Variable { name, operator, .. },
                ..
            },
        ] => {
            if operator.ends_with('+') {
                Err(TemplateProblem::Replaced((*name).to_owned()))
            } else {
                Ok(name)
            }
        }
        parts
            if parts
                .iter()
                .all(|piece| matches!(piece.kind, Kind::Character(_))) =>
        {
            Err(TemplateProblem::FixedTag(text.to_owned()))
        }
        _ => Err(TemplateProblem::TagOfParts(text.to_owned())),
    }
}

/// The name of a tag variable for the Compose service `service`: `shop-api` becomes `SHOP_API_IMAGE_TAG`.
#[must_use]
pub fn suggested_variable(service: &str) -> String {
    let mut variable: String = service
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    // A variable cannot begin with a digit, a service can.
    if variable.starts_with(|c: char| c.is_ascii_digit()) {
        variable.insert(0, '_');
    }
    variable.push_str("_IMAGE_TAG");
    variable
}

#[cfg(test)]
mod tests;
