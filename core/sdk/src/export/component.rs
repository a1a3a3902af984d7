//! What the tables of all kinds share: their description and life, options, the context of *bind*.

use super::{
    abi::{Bind, Buf, Component, Error, Host, Instance, LifecycleVt, PANICKED, Panicked, StatusCode, Str, Task},
    guard::{Handle, give, hush, maybe_text, null, slot, text},
};
use crate::{BindContext, Caps, Config, Finding, Findings, PluginError, Status, TaskContext, registry};
use serde_json::{Value, json};
use std::{
    ffi::c_void,
    marker::PhantomData,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

/// A table of one kind of plugin, as what all kinds share asks for it.
pub(super) trait Table: Sized + 'static {
    /// The options.
    type Config: Config;
    /// What an instance's handle leads to.
    type Instance;
    /// As the header numbers it.
    const KIND: u32;
    /// As the plugin's trait says, here and below.
    const NAME: &'static str;
    const VERSION: &'static str;
    const SUMMARY: &'static str;
    const CAPS: Caps;
    /// The slots of this kind.
    const VT: *const c_void;
    /// The slot `probe`, where the kind has one.
    const PROBE: Option<Probe> = None;

    /// As the plugin's trait says.
    fn check(config: &Self::Config, findings: &mut Findings);

    /// Makes an instance.
    ///
    /// # Safety
    /// `bind` is as the header says.
    unsafe fn bind(config: Self::Config, bind: &Bind) -> Result<*mut Instance, PluginError>;
}

pub(super) type Probe = unsafe extern "C-unwind" fn(*mut Instance, *const Task, *mut Buf, *mut Error) -> StatusCode;

/// The slots that all kinds have.
pub(super) struct Slots<T>(PhantomData<T>);

impl<T: Table> Slots<T> {
    const LIFECYCLE: LifecycleVt = LifecycleVt {
        struct_size: size_of::<LifecycleVt>() as u32,
        reserved: 0,
        check: Some(Self::check),
        bind: Some(Self::bind),
        probe: T::PROBE,
        release: Some(Self::release),
    };
    /// The component.
    pub(super) const COMPONENT: Component = Component {
        struct_size: size_of::<Component>() as u32,
        kind: T::KIND,
        caps: T::CAPS.bits(),
        name: Str::of(T::NAME),
        version: Str::of(T::VERSION),
        summary: Str::of(T::SUMMARY),
        schema: Some(Self::schema),
        lifecycle: &raw const *{ &Self::LIFECYCLE },
        vt: T::VT,
    };

    unsafe extern "C-unwind" fn schema(out: *mut Buf, error: *mut Error) -> StatusCode {
        // SAFETY: by the header's contract, here and below.
        unsafe { slot(error, || give(out, schema_json::<T::Config>())) }
    }

    unsafe extern "C-unwind" fn check(config: Str, out: *mut Buf, error: *mut Error) -> StatusCode {
        // SAFETY: as above.
        unsafe {
            slot(error, || {
                let findings = registry::findings::<T::Config>(&options(config)?, T::check);
                give(out, findings_json(&findings))
            })
        }
    }

    unsafe extern "C-unwind" fn bind(bind: *const Bind, out: *mut *mut Instance, error: *mut Error) -> StatusCode {
        // SAFETY: as above.
        unsafe {
            slot(error, || {
                let bind = bind.as_ref().ok_or_else(|| null("what bind gets"))?;
                let place = out.as_mut().ok_or_else(|| null("the instance's place"))?;
                *place = T::bind(registry::config(&options(bind.config_json)?)?, bind)?;
                Ok(())
            })
        }
    }

    unsafe extern "C-unwind" fn release(instance: *mut Instance) {
        // SAFETY: as above.
        unsafe { Handle::<T::Instance>::release(instance) }
    }
}

static HOST: AtomicPtr<Host> = AtomicPtr::new(std::ptr::null_mut());

/// The slot `init` of every plugin.
///
/// # Safety
/// As the header says.
pub unsafe extern "C-unwind" fn init(host: *const Host, error: *mut Error) -> StatusCode {
    hush();
    // SAFETY: by the header's contract.
    unsafe {
        slot(error, || {
            HOST.store(host.cast_mut(), Ordering::Release);
            Ok(())
        })
    }
}

/// Tells the host that about so many bytes will be allocated (negative: were freed). Without a host that counts, all is
/// granted.
///
/// # Errors
/// `MEMORY` when the host refuses.
pub fn reserve(delta_bytes: i64) -> Result<(), PluginError> {
    // SAFETY: the host's table lives as long as the process.
    let Some(host) = (unsafe { HOST.load(Ordering::Acquire).as_ref() }) else {
        return Ok(());
    };
    match host.mem_reserve {
        // SAFETY: the slot may be called from any thread at any time.
        Some(reserve) if unsafe { reserve(host.ctx, delta_bytes) } != 0 => Err(PluginError::new(
            Status::ResourceExhausted,
            "MEMORY",
            "the host grants no more memory",
        )),
        _ => Ok(()),
    }
}

/// Tells the host of a panic that no slot can return. A host that does not want to know is not told.
pub(super) fn panicked(what: &str) {
    // SAFETY: the host's table, and what it gives by name, live as long as the process.
    unsafe {
        let Some(host) = HOST.load(Ordering::Acquire).as_ref() else {
            return;
        };
        let extension = host.get_extension.map(|get| get(host.ctx, Str::of(PANICKED)));
        let extension = extension.and_then(|table| table.cast::<Panicked>().as_ref());
        if let Some(Panicked {
            ctx,
            panicked: Some(tell),
            ..
        }) = extension
        {
            tell(*ctx, Str::of(what));
        }
    }
}

fn schema_json<C: Config>() -> Vec<u8> {
    crate::registry::schema_of::<C>().to_string().into_bytes()
}

/// The options of a call.
unsafe fn options(config_json: Str) -> Result<Value, PluginError> {
    // SAFETY: by the header's contract.
    serde_json::from_str(unsafe { text(config_json) }?)
        .map_err(|_| PluginError::new(Status::InvalidConfig, "OPTIONS", "the options are not JSON"))
}

fn findings_json(findings: &[Finding]) -> Vec<u8> {
    if findings.is_empty() {
        return Vec::new();
    }
    let each = |f: &Finding| match &f.hint {
        Some(hint) => json!({ "code": f.code, "pointer": f.pointer, "message": f.message, "hint": hint }),
        None => json!({ "code": f.code, "pointer": f.pointer, "message": f.message }),
    };
    Value::Array(findings.iter().map(each).collect())
        .to_string()
        .into_bytes()
}

/// What *bind* may look at.
pub(super) unsafe fn context(bind: &Bind) -> Result<BindContext, PluginError> {
    // SAFETY: by the header's contract, here and below.
    let mut context = unsafe {
        BindContext {
            timezone: maybe_text(bind.timezone)?.map(str::to_owned),
            name: text(bind.name)?.to_owned(),
            ..BindContext::default()
        }
    };
    if bind.n_resources > 0 && bind.resources.is_null() {
        return Err(null("the resources"));
    }
    for index in 0..bind.n_resources as usize {
        // SAFETY: there are so many.
        let resource = unsafe { *bind.resources.add(index) };
        // SAFETY: as above.
        let (reference, file) = unsafe { (text(resource.reference)?, text(resource.file)?) };
        let bytes = match (resource.ptr.is_null(), resource.len) {
            (_, 0) => Vec::new(),
            (true, _) => return Err(null("a resource")),
            // SAFETY: there are so many bytes.
            (false, len) => unsafe { std::slice::from_raw_parts(resource.ptr, len) }.to_vec(),
        };
        let files = &mut context.resources.entry(reference.to_owned()).or_default().files;
        files.insert(file.to_owned(), bytes);
    }
    Ok(context)
}

/// What a task is told.
///
/// # Safety
/// `task` is as the header says and lives as long as it is used.
pub(super) unsafe fn task<'a>(task: *const Task) -> Result<TaskContext<'a>, PluginError> {
    // SAFETY: by this function's contract.
    let task = unsafe { task.as_ref() }.ok_or_else(|| null("a task"))?;
    if task.cancelled.is_null() {
        return Err(null("a task's flag"));
    }
    Ok(TaskContext {
        // SAFETY: the flag is a byte of 0 or 1 that lives as long as the task.
        cancelled: unsafe { AtomicBool::from_ptr(task.cancelled.cast_mut().cast()) },
        batch_rows: task.target_batch_rows.max(1) as usize,
    })
}

/// The error after the host gave a reason to stop. The host knows the reason and puts it in this one's place.
pub(super) fn stopped(status: StatusCode) -> PluginError {
    let status = super::abi_status(status).unwrap_or(Status::Internal);
    PluginError::new(status, "HOST_STOPPED", "the host stopped the call")
}
