//! Generates the client from the document named by `COMMERCE_OPENAPI`.

use progenitor_impl::Generator;
use std::path::Path;
use std::{env, error, fs};

fn main() -> Result<(), Box<dyn error::Error>> {
    let document = env::var("COMMERCE_OPENAPI")?;
    println!("cargo::rerun-if-env-changed=COMMERCE_OPENAPI");
    println!("cargo::rerun-if-changed={document}");
    let document: openapiv3::OpenAPI = serde_json::from_str(&fs::read_to_string(document)?)?;
    let code = syn::parse2(Generator::default().generate_tokens(&document)?)?;
    let file = Path::new(&env::var("OUT_DIR")?).join("client.rs");
    Ok(fs::write(file, prettyplease::unparse(&code))?)
}
