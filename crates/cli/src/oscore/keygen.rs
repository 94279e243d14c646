//! `antiphon oscore keygen`: a private key that nobody sees, and what everybody may see of it.

use std::path::PathBuf;

use antiphon_oscore::credential::Credential;
use antiphon_oscore::crypto::{Curve, PrivateKey};
use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::{exit, hex, secret_file, terminal};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  antiphon oscore keygen --out lamp-1.key --subject lamp-1
  antiphon oscore keygen --curve p256 --out gateway.key --subject gateway --json

The key is written into a file for you alone, and never shown. What is printed is public: the other members need the credential.")]
pub(crate) struct KeygenArgs {
    /// Kind of key: all sign but x25519, which is for groups that have only the pairwise mode
    #[arg(long, value_name = "CURVE", value_enum, default_value_t)]
    curve: CurveChoice,

    /// The new file for the private key
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Whom the credential names
    #[arg(long, value_name = "NAME", default_value = "")]
    subject: String,

    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// The curves that this version makes keys of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CurveChoice {
    #[default]
    Ed25519,
    X25519,
    P256,
    #[cfg(feature = "p384")]
    P384,
    #[cfg(feature = "p521")]
    P521,
}

impl CurveChoice {
    pub(crate) fn curve(self) -> Curve {
        match self {
            Self::Ed25519 => Curve::Ed25519,
            Self::X25519 => Curve::X25519,
            Self::P256 => Curve::P256,
            #[cfg(feature = "p384")]
            Self::P384 => Curve::P384,
            #[cfg(feature = "p521")]
            Self::P521 => Curve::P521,
        }
    }
}

impl KeygenArgs {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let key = secret_file::generate(self.curve.curve())?;
        secret_file::write_key(&self.out, &key)?;
        let public = key.public();
        let (x, y) = public.coordinates();
        let credential = Credential::build_ccs(&self.subject, &public);
        let file = self.out.display().to_string();
        if self.json {
            println!(
                "{}",
                json!({
                    "event": "key", "file": file, "curve": public.curve().name(),
                    "x": hex::plain(&x), "y": y.map(|y| hex::plain(&y)),
                    "subject": self.subject, "format": "ccs", "credential": hex::plain(&credential),
                })
            );
            return Ok(exit::ALL);
        }
        println!("private key  {}, for you alone", terminal::line(&file));
        println!("curve        {}", public.curve().name());
        println!("public key   {}", hex::plain(&x));
        if let Some(y) = y {
            println!("             {}", hex::plain(&y));
        }
        println!("credential   {}", hex::plain(&credential));
        if self.subject.is_empty() {
            println!("             a CCS that names nobody: --subject gives it a name");
        } else {
            println!("             a CCS of {}", terminal::quoted(&self.subject));
        }
        Ok(exit::ALL)
    }
}
