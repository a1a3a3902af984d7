//! C tables as the traits of the SDK. Every call into a plugin passes through [`Native::call`], which names the plugin and
//! the phase in what it says.

mod begin;
mod bound;
mod context;
mod desk;
mod emitted;
mod lent;
pub(crate) mod reaper;
mod released;
mod sink;
mod source;
mod transform;
pub(crate) mod worker;

pub(crate) use begin::{init, open};
pub(crate) use emitted::ROWS_IN_FINISH;
pub use sink::NativeSink;
pub use source::NativeSource;
pub use transform::NativeTransform;

use crate::{
    calls::Under,
    limits::{Account, interrupted},
    process::STUCK,
    texts::{LONGEST_TEXT, ROW_WISE_ALONE, findings as told_findings, is_code, of_options, said},
};
use bound::Bound;
use clinmill_abi::tables::{Bind, Buf, Component, Error, Instance, LifecycleVt, Resource, Str};
use clinmill_model::{Digest, keywords};
use clinmill_sdk::{
    BindContext, Caps, Descriptor, Finding, Kind, PluginError, Retry, Status, arrow::datatypes::Schema,
    export::abi_status,
};
use lent::LentSchema;
use reaper::MOST_WAITING;
use serde_json::Value;
use std::{
    ffi::c_void,
    sync::{Arc, atomic::Ordering},
};
use worker::{Lost, Sign, Trampoline, Worker};

/// One component of a loaded plugin.
pub struct Native {
    caller: Caller,
    descriptor: Descriptor,
    component: &'static Component,
    lifecycle: &'static LifecycleVt,
}

/// How long a JSON text of a plugin may be.
const LONGEST_JSON: usize = 16 << 20;

/// Arguments, and the error that the slot may fill. All of it stays where it is until the call is over.
pub(crate) struct Frame<A> {
    pub args: A,
    pub error: Error,
}

impl<A> Frame<A> {
    pub fn new(args: A) -> Box<Self> {
        Box::new(Self {
            args,
            error: Error::EMPTY,
        })
    }
}

/// What the host says of a plugin that did what it may not.
pub(crate) fn blame(plugin: &str, phase: &str, status: Status, code: &str, what: &str) -> PluginError {
    PluginError::new(status, code, format!("the plugin {plugin:?} in {phase}: {what}"))
}

/// The same with an error that was found on the way.
pub(crate) fn blame_for(plugin: &str, phase: &str, error: PluginError) -> PluginError {
    PluginError {
        message: format!("the plugin {plugin:?} in {phase}: {}", error.message),
        ..error
    }
}

/// A text of a plugin; cut, and with what is not UTF-8 replaced.
///
/// # Safety
/// `text` is null or points to as many bytes as it says.
pub(crate) unsafe fn copied(text: Str, longest: usize) -> Option<String> {
    if text.ptr.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    let bytes = unsafe { std::slice::from_raw_parts(text.ptr.cast::<u8>(), text.len.min(longest)) };
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// A text that is repeated to people.
///
/// # Safety
/// As [`copied`].
pub(crate) unsafe fn told(text: Str, longest: usize) -> Option<String> {
    // SAFETY: by this function's contract.
    unsafe { copied(text, longest) }.map(|text| said(&text, longest))
}

/// Who is called, and by which limits.
pub struct Caller {
    /// The plugin's name.
    plugin: String,
    account: Arc<Account>,
    /// Of the options; null before it was described.
    schema: Arc<Value>,
}

impl std::ops::Deref for Native {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl Native {
    /// A component as the plugin's table describes it. Asks it for the schema of its options.
    ///
    /// # Errors
    /// When the component does not describe itself.
    pub fn new(
        plugin: &str,
        component: &'static Component,
        account: Arc<Account>,
        build: Option<Digest>,
    ) -> Result<Self, PluginError> {
        let say = |what: &str| blame(plugin, "describe", Status::Internal, "ABI_NULL", what);
        if component.struct_size < size_of::<Component>() as u32 {
            return Err(blame(
                plugin,
                "describe",
                Status::Internal,
                "ABI_SIZE",
                "a component is too small",
            ));
        }
        // SAFETY: static data of the library, which stays loaded.
        let lifecycle = unsafe { component.lifecycle.as_ref() }.ok_or_else(|| say("a component has no phases"))?;
        if lifecycle.struct_size < size_of::<LifecycleVt>() as u32
            || lifecycle.check.is_none()
            || lifecycle.bind.is_none()
            || lifecycle.release.is_none()
            || component.vt.is_null()
        {
            return Err(say("a slot that must be there is NULL"));
        }
        let kind = match i32::try_from(component.kind)
            .ok()
            .and_then(clinmill_abi::Kind::from_code)
        {
            Some(clinmill_abi::Kind::Source) => Kind::Source,
            Some(clinmill_abi::Kind::Transform) => Kind::Transform,
            Some(clinmill_abi::Kind::Sink) => Kind::Sink,
            None => {
                return Err(blame(
                    plugin,
                    "describe",
                    Status::Unsupported,
                    "ABI_KIND",
                    "a component of no known kind",
                ));
            }
        };
        let caps = Caps::from_bits(component.caps);
        if kind == Kind::Transform && caps.needs_whole() {
            return Err(blame(
                plugin,
                "describe",
                Status::Unsupported,
                "ABI_CAPS",
                ROW_WISE_ALONE,
            ));
        }
        // SAFETY: static data of the library.
        let text = |text: Str| unsafe { told(text, LONGEST_TEXT) }.unwrap_or_default();
        account.reaper.of(plugin);
        let mut native = Self {
            caller: Caller {
                plugin: plugin.to_owned(),
                account,
                schema: Arc::default(),
            },
            descriptor: Descriptor {
                name: text(component.name),
                version: text(component.version),
                build: build.map(|digest| digest.to_string()),
                summary: text(component.summary),
                kind,
                caps,
                schema: Value::Null,
            },
            component,
            lifecycle,
        };
        let name = &native.descriptor.name;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
            return Err(blame(
                plugin,
                "describe",
                Status::Internal,
                "ABI_NAME",
                "a component has no good name",
            ));
        }
        native.descriptor.schema = native.schema()?;
        native.caller.schema = Arc::new(native.descriptor.schema.clone());
        Ok(native)
    }

    /// Waits until what it handed over, and was dropped, is released.
    ///
    /// # Errors
    /// When it was lost over it, or over the release of a run or an instance.
    pub fn settle(&self) -> Result<(), PluginError> {
        self.caller.all_released()?;
        self.caller.settle(0)
    }

    /// How it describes itself.
    pub fn descriptor(&self) -> Descriptor {
        self.descriptor.clone()
    }

    fn schema_of_options(&self) -> Arc<Value> {
        self.caller.schema.clone()
    }

    fn vt<T>(&self, smallest: usize) -> Result<&'static T, PluginError> {
        // SAFETY: static data of the library; every table begins with its size.
        let size = unsafe { *self.component.vt.cast::<u32>() } as usize;
        if size < smallest {
            return Err(self.blame("describe", Status::Internal, "ABI_SIZE", "its table is too small"));
        }
        // SAFETY: fields beyond `smallest` are read through `since` only.
        Ok(unsafe { &*self.component.vt.cast::<T>() })
    }

    fn schema(&self) -> Result<Value, PluginError> {
        type Slot = unsafe extern "C-unwind" fn(*mut Buf, *mut Error) -> i32;
        unsafe extern "C-unwind" fn run(frame: *mut c_void) -> i32 {
            // SAFETY: called with the frame below.
            unsafe {
                let frame = frame.cast::<Frame<(Slot, Buf)>>();
                ((*frame).args.0)(&raw mut (*frame).args.1, &raw mut (*frame).error)
            }
        }
        let null = || self.blame("describe", Status::Internal, "ABI_NULL", "it has no schema");
        let slot = self.component.schema.ok_or_else(null)?;
        // SAFETY: the frame is what `run` takes.
        let mut frame = unsafe { self.call("describe", Frame::new((slot, Buf::EMPTY)), run) }?;
        // SAFETY: the plugin filled it.
        let bytes = unsafe { self.bytes_of("describe", &mut frame.args.1) }?;
        let schema: Option<Value> = serde_json::from_slice(&bytes).ok();
        let schema = schema.filter(Value::is_object).ok_or_else(|| {
            self.blame(
                "describe",
                Status::Internal,
                "ABI_SCHEMA",
                "the schema of its options is no JSON object",
            )
        })?;
        match keywords::unread(&schema) {
            Some(what) => Err(self.blame("describe", Status::Unsupported, "ABI_SCHEMA", &of_options(&what))),
            None => Ok(schema),
        }
    }

    /// The phase *check*.
    pub fn check(&self, options: &Value) -> Vec<Finding> {
        self.findings(options).unwrap_or_else(|error| {
            vec![Finding {
                code: error.code,
                pointer: error.pointer.unwrap_or_default(),
                message: error.message,
                hint: None,
            }]
        })
    }

    fn findings(&self, options: &Value) -> Result<Vec<Finding>, PluginError> {
        type Slot = unsafe extern "C-unwind" fn(Str, *mut Buf, *mut Error) -> i32;
        struct Args {
            slot: Slot,
            options: String,
            out: Buf,
        }
        unsafe extern "C-unwind" fn run(frame: *mut c_void) -> i32 {
            // SAFETY: called with the frame below.
            unsafe {
                let frame = frame.cast::<Frame<Args>>();
                let args = &raw mut (*frame).args;
                ((*args).slot)(Str::of(&(*args).options), &raw mut (*args).out, &raw mut (*frame).error)
            }
        }
        let Some(slot) = self.lifecycle.check else {
            return Ok(Vec::new());
        };
        let args = Args {
            slot,
            options: options.to_string(),
            out: Buf::EMPTY,
        };
        // SAFETY: the frame is what `run` takes.
        let mut frame = unsafe { self.call("check", Frame::new(args), run) }?;
        // SAFETY: the plugin filled it.
        let bytes = unsafe { self.bytes_of("check", &mut frame.args.out) }?;
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let findings = serde_json::from_slice::<Value>(&bytes).ok();
        let findings = findings
            .as_ref()
            .and_then(Value::as_array)
            .and_then(|all| told_findings(&self.plugin, all));
        findings.ok_or_else(|| {
            self.blame(
                "check",
                Status::Internal,
                "ABI_FINDINGS",
                "its findings are not a list of findings",
            )
        })
    }

    /// The phase *bind*.
    fn instance(
        self: &Arc<Self>,
        options: &Value,
        input: Option<&Schema>,
        context: &BindContext,
    ) -> Result<Bound, PluginError> {
        type Slot = unsafe extern "C-unwind" fn(*const Bind, *mut *mut Instance, *mut Error) -> i32;
        struct Args {
            slot: Slot,
            options: String,
            context: BindContext,
            resources: Vec<Resource>,
            input: Option<LentSchema>,
            bind: Bind,
            out: *mut Instance,
        }
        unsafe extern "C-unwind" fn run(frame: *mut c_void) -> i32 {
            // SAFETY: called with the frame below.
            unsafe {
                let frame = frame.cast::<Frame<Args>>();
                let args = &raw mut (*frame).args;
                ((*args).slot)(&raw const (*args).bind, &raw mut (*args).out, &raw mut (*frame).error)
            }
        }
        let Some(slot) = self.lifecycle.bind else {
            return Err(self.blame(
                "bind",
                Status::Internal,
                "ABI_NULL",
                "a slot that must be there is NULL",
            ));
        };
        let mut frame = Frame::new(Args {
            slot,
            options: options.to_string(),
            context: context.clone(),
            resources: Vec::new(),
            input: input.map(LentSchema::new).transpose()?,
            bind: Bind {
                struct_size: size_of::<Bind>() as u32,
                n_resources: 0,
                config_json: Str::NONE,
                name: Str::NONE,
                timezone: Str::NONE,
                resources: std::ptr::null(),
                input: std::ptr::null(),
            },
            out: std::ptr::null_mut(),
        });
        let args = &mut frame.args;
        for (reference, resource) in &args.context.resources {
            for (file, bytes) in &resource.files {
                args.resources.push(Resource {
                    reference: Str::of(reference),
                    file: Str::of(file),
                    ptr: bytes.as_ptr(),
                    len: bytes.len(),
                });
            }
        }
        args.bind.n_resources = u32::try_from(args.resources.len()).unwrap_or(u32::MAX);
        args.bind.resources = args.resources.as_ptr();
        args.bind.config_json = Str::of(&args.options);
        args.bind.name = Str::of(&args.context.name);
        args.bind.timezone = args.context.timezone.as_deref().map_or(Str::NONE, Str::of);
        args.bind.input = args.input.as_ref().map_or(std::ptr::null(), LentSchema::as_ptr);
        // SAFETY: the frame is what `run` takes; what it points to lies in itself or on the heap behind it.
        let frame = unsafe { self.call("bind", frame, run) }?;
        if frame.args.out.is_null() {
            return Err(self.blame("bind", Status::Internal, "ABI_NULL", "the instance is NULL"));
        }
        Ok(Bound {
            native: self.clone(),
            instance: frame.args.out,
        })
    }
}

impl Caller {
    fn blame(&self, phase: &str, status: Status, code: &str, what: &str) -> PluginError {
        blame(&self.plugin, phase, status, code, what)
    }

    fn lost(&self, phase: &str, how: Lost) -> PluginError {
        self.account.poison();
        match how {
            Lost::Time => self.blame(
                phase,
                Status::Timeout,
                "PLUGIN_TIMEOUT",
                "it did not come back in time (CLINMILL_PLUGIN_SECONDS says how long it has)",
            ),
            Lost::Stuck => self.blame(phase, Status::Timeout, "PLUGIN_TIMEOUT", STUCK),
            Lost::Thread => self.blame(phase, Status::Panic, "PLUGIN_THREAD", "it ended its thread"),
            Lost::Cancelled => PluginError::cancelled(),
            Lost::Spawn => self.blame(
                phase,
                Status::ResourceExhausted,
                "PLUGIN_SPAWN",
                "there is no thread to run it on",
            ),
        }
    }

    fn refuse_poisoned(&self, phase: &str) -> Result<(), PluginError> {
        self.settle(MOST_WAITING)?;
        match self.account.is_poisoned() {
            true => Err(self.blame(
                phase,
                Status::InvalidState,
                "PLUGIN_POISONED",
                "an earlier call of it was lost",
            )),
            false => Ok(()),
        }
    }

    /// That it was cancelled is taken from a plugin that was.
    fn unless_asked(&self, phase: &str, is_cancelled: bool, error: PluginError) -> PluginError {
        match error.status == Status::Cancelled && !is_cancelled {
            true => self.blame(
                phase,
                Status::Internal,
                "ABI_CANCELLED",
                "it says that it was cancelled, and it was not",
            ),
            false => error,
        }
    }

    /// One call of a slot. A frame of a call that is lost is never freed.
    ///
    /// # Safety
    /// `run` may be called with the frame.
    unsafe fn call<A>(&self, phase: &str, frame: Box<Frame<A>>, run: Trampoline) -> Result<Box<Frame<A>>, PluginError> {
        // SAFETY: by this function's contract.
        let outcome = unsafe { self.call_of_task(phase, frame, run) };
        outcome.map_err(|error| self.unless_asked(phase, false, error))
    }

    /// As [`call`](Self::call), of what may have been told to stop.
    ///
    /// # Safety
    /// As [`call`](Self::call).
    unsafe fn call_of_task<A>(
        &self,
        phase: &str,
        frame: Box<Frame<A>>,
        run: Trampoline,
    ) -> Result<Box<Frame<A>>, PluginError> {
        let mut kept = Some(frame);
        // SAFETY: by this function's contract.
        unsafe { self.call_keeping(phase, &mut kept, run) }?;
        kept.ok_or_else(|| self.blame(phase, Status::Internal, "PLUGIN_THREAD", "the call was lost"))
    }

    /// As [`call`](Self::call); the frame stays where the call was not lost, also when it failed.
    ///
    /// # Safety
    /// As [`call`](Self::call).
    unsafe fn call_keeping<A>(
        &self,
        phase: &str,
        kept: &mut Option<Box<Frame<A>>>,
        run: Trampoline,
    ) -> Result<(), PluginError> {
        self.refuse_poisoned(phase)?;
        let Some(frame) = kept else {
            return Err(self.blame(
                phase,
                Status::InvalidState,
                "PLUGIN_POISONED",
                "an earlier call of it was lost",
            ));
        };
        let argument: *mut c_void = (&raw mut **frame).cast();
        self.account.known.enter(phase);
        let under = Under::new(&self.plugin, phase);
        // What is released may come when a command is at its end, and has no task.
        let tick = || Sign {
            cancelled: phase == "release" && interrupted().load(Ordering::Relaxed),
            ..Sign::default()
        };
        let status = match self.account.limits.call {
            // SAFETY: by this function's contract.
            None => unsafe { run(argument) },
            Some(limit) => {
                let outcome = Worker::spawn().and_then(|mut worker| {
                    // SAFETY: as above.
                    unsafe { worker.call(run, argument, Some(limit), tick) }
                });
                match outcome {
                    Ok(status) => status,
                    Err(how) => {
                        std::mem::forget(kept.take());
                        under.lost();
                        return Err(self.lost(phase, how));
                    }
                }
            }
        };
        drop(under);
        // SAFETY: the call is over.
        unsafe { self.ended(phase, status, &mut frame.error) }
    }

    /// How a call ended, with the error that the plugin filled.
    ///
    /// # Safety
    /// The call that was given `error` is over.
    unsafe fn ended(&self, phase: &str, status: i32, error: &mut Error) -> Result<(), PluginError> {
        if self.account.double_releases() > 0 {
            self.account.poison();
            return Err(self.blame(phase, Status::Internal, "ABI_RELEASED", "it released an array twice"));
        }
        if status == 0 && error.release.is_none() {
            return Ok(());
        }
        // SAFETY: by this function's contract; here and below.
        let text = |text: Str| unsafe { told(text, LONGEST_TEXT) };
        let said = PluginError {
            retry: match error.retry {
                1 => Retry::Later,
                2 => Retry::Now,
                _ => Retry::Never,
            },
            pointer: text(error.config_pointer),
            offset: (error.has_offset == 1).then_some(error.offset),
            ..PluginError::new(
                abi_status(status).unwrap_or(Status::Internal),
                text(error.code)
                    .filter(|code| !code.is_empty())
                    .unwrap_or_else(|| "PLUGIN_FAILED".into()),
                text(error.message).unwrap_or_default(),
            )
        };
        let release = error.release;
        let error = Box::new(std::mem::replace(error, Error::EMPTY));
        // SAFETY: once, as the header says.
        unsafe { self.released(phase, error, release) }?;
        match status {
            0 => Ok(()),
            _ if !is_code(&said.code) => {
                Err(self.blame(phase, said.status, "ABI_CODE", "it fails with a code that is none"))
            }
            _ => Err(self.account.known.shown(&self.schema, &self.plugin, phase, said)),
        }
    }
}
