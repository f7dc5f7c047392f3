//! `operator snapshot`

use crate::context::Context;
use crate::failure::{Failure, OK, Outcome};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use vault_client::Call;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Save the whole vault into a file here, encrypted as it is stored
    Save {
        /// Not there yet
        file: PathBuf,
    },
    /// Say what a snapshot file holds, and whether it is as it was written
    Inspect { file: PathBuf },
    /// Put a snapshot of the server's snapshot directory up to be restored; the shares complete it
    Restore {
        /// The file's name in that directory
        name: String,
        /// Only look whether it could be
        #[arg(long)]
        dry_run: bool,
        /// Give up a restore that waits (a sealed vault, over the unix socket)
        #[arg(long, conflicts_with = "dry_run", hide = true)]
        cancel: bool,
    },
}

impl Command {
    pub async fn run(self, cx: &mut Context<'_>) -> Outcome {
        match self {
            Command::Save { file } => save(cx, &file).await,
            Command::Inspect { file } => inspect(cx, &file),
            Command::Restore { name, dry_run, cancel } => restore(cx, &name, dry_run, cancel).await,
        }
    }
}

async fn save(cx: &mut Context<'_>, file: &Path) -> Outcome {
    let fail = |e: io::Error| Failure::local(format!("{}: {e}", file.display()));
    if file.exists() {
        return Err(Failure::local(format!("{} is there already", file.display())));
    }
    let client = cx.client()?;
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let saved = async {
        let out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let mut out = BufWriter::new(out.map_err(fail)?);
        Call::read(&client, "sys/storage/snapshot").download(&mut out).await?;
        out.flush().and_then(|()| out.get_ref().sync_all()).map_err(fail)?;
        let document = read(&part)?;
        fs::rename(&part, file).map_err(fail)?;
        Ok::<_, Failure>(document)
    };
    let saved = saved.await;
    if saved.is_err() {
        let _gone = fs::remove_file(&part);
    }
    print(cx, &saved?)
}

fn inspect(cx: &mut Context<'_>, file: &Path) -> Outcome {
    let document = read(file)?;
    print(cx, &document)
}

async fn restore(cx: &mut Context<'_>, name: &str, dry_run: bool, cancel: bool) -> Outcome {
    let client = cx.client()?;
    if cancel {
        Call::delete(&client, "sys/storage/snapshot/restore").done().await?;
        cx.say("Success! The restore was given up")?;
        return Ok(OK);
    }
    let call = Call::write(&client, "sys/storage/snapshot/restore");
    let answer = call.json(&json!({ "name": name, "dry_run": dry_run })).any().await?;
    if let Some(data) = answer.and_then(|a| a.data) {
        print(cx, &Value::Object(data.expose().clone()))?;
    }
    cx.say(match dry_run {
        true => "It could be restored; nothing was changed.",
        false => {
            "The vault is sealed and nothing is replaced yet. Give the snapshot's shares with \
             vault-cli operator unseal -accept-rollback: they complete the restore."
        }
    })?;
    Ok(OK)
}

fn print(cx: &mut Context<'_>, document: &Value) -> Outcome {
    let rows: Vec<_> =
        document.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    cx.pairs(&rows, document)?;
    Ok(OK)
}

const MAGIC: &[u8; 8] = b"VLTDSNAP";
const HASH_BYTES: usize = 32;
const MAX_MANIFEST: u32 = 16 * 1024;
const MAX_RECORD_PART: u32 = 4 * 1024 * 1024;

/// What was found to hold, and what takes the keys.
const VERIFIED: &str =
    "whole and unchanged since it was written: length, order and number of records, SHA-256";
const NOT_PROVED: &str = "who wrote it and what its records say: that takes the shares, at the restore";

/// Reads on, and hashes what it reads.
struct Hashed<R> {
    input: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.hash.update(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}

/// The manifest of a snapshot file that is as it was written, with what was counted on the way. Its records can only be
/// read with the vault's keys.
fn read(file: &Path) -> Result<Value, Failure> {
    let fail = |why: String| Failure::local(format!("{}: {why}", file.display()));
    let open = File::open(file).map_err(|e| fail(e.to_string()))?;
    let bytes = open.metadata().map_err(|e| fail(e.to_string()))?.len();
    let mut input = Hashed { input: BufReader::new(open), hash: Sha256::new() };
    walk(&mut input, bytes).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => fail("the snapshot is cut short".into()),
        _ => fail(e.to_string()),
    })
}

fn walk(input: &mut Hashed<impl Read>, bytes: u64) -> io::Result<Value> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut magic = [0; 8];
    input.read_exact(&mut magic)?;
    if magic != *MAGIC || number(input)? != 1 {
        return Err(bad("this is no snapshot that this program can read"));
    }
    let length = number(input)?;
    if length > MAX_MANIFEST {
        return Err(bad("its manifest is damaged"));
    }
    let mut text = vec![0; length as usize];
    input.read_exact(&mut text)?;
    let text = std::str::from_utf8(&text).map_err(|_| bad("its manifest is damaged"))?;
    let mut manifest = vault_api::json::value(text, &vault_api::json::Bounds::SIZED)
        .map_err(|_| bad("its manifest is damaged"))?;
    let (mut records, mut last) = (0u64, None::<Vec<u8>>);
    loop {
        let key = number(input)?;
        if key == u32::MAX {
            break;
        }
        let value = number(input)?;
        if key > MAX_RECORD_PART || value > MAX_RECORD_PART {
            return Err(bad("a record has an impossible size"));
        }
        let mut name = vec![0; key as usize];
        input.read_exact(&mut name)?;
        if last.as_ref().is_some_and(|last| *last >= name) {
            return Err(bad("its records are not in order"));
        }
        last = Some(name);
        if io::copy(&mut input.by_ref().take(value.into()), &mut io::sink())? != u64::from(value) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        records += 1;
    }
    let (mut count, mut hash, mut more) = ([0; 8], [0; HASH_BYTES], [0; 1]);
    input.read_exact(&mut count)?;
    let want: [u8; HASH_BYTES] = input.hash.clone().finalize().into();
    input.read_exact(&mut hash)?;
    if u64::from_be_bytes(count) != records || input.read(&mut more)? != 0 {
        return Err(bad("it does not end where it should"));
    }
    if hash != want {
        return Err(bad("it is not as it was written: its hash is another"));
    }
    if let Some(fields) = manifest.as_object_mut() {
        fields.insert("records".into(), records.into());
        fields.insert("bytes".into(), bytes.into());
        fields.insert("sha256".into(), hash.iter().map(|b| format!("{b:02x}")).collect::<String>().into());
        fields.insert("verified".into(), VERIFIED.into());
        fields.insert("not_proved".into(), NOT_PROVED.into());
    }
    Ok(manifest)
}

fn number(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}
