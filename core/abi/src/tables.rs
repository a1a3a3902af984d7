//! The `repr(C)` twins of the header's structs. What a field means, who owns what it points to and which thread may call
//! a slot, the header says; a test compiles the header and compares every size and offset.
//!
//! Slots are `Option`: null is absent. They are `C-unwind` because a C plugin that ends its thread (`pthread_exit`) unwinds
//! through its caller, which the host survives where it keeps nothing on the stack that would have to be dropped.

use core::ffi::{c_char, c_void};

/// `struct ArrowSchema` of the Arrow C Data Interface.
#[derive(Debug)]
#[repr(C)]
#[allow(missing_docs, reason = "the fields are the Arrow specification's")]
pub struct ArrowSchema {
    pub format: *const c_char,
    pub name: *const c_char,
    pub metadata: *const c_char,
    pub flags: i64,
    pub n_children: i64,
    pub children: *mut *mut ArrowSchema,
    pub dictionary: *mut ArrowSchema,
    pub release: Option<unsafe extern "C-unwind" fn(*mut ArrowSchema)>,
    pub private_data: *mut c_void,
}

/// `struct ArrowArray` of the Arrow C Data Interface.
#[derive(Debug)]
#[repr(C)]
#[allow(missing_docs, reason = "the fields are the Arrow specification's")]
pub struct ArrowArray {
    pub length: i64,
    pub null_count: i64,
    pub offset: i64,
    pub n_buffers: i64,
    pub n_children: i64,
    pub buffers: *mut *const c_void,
    pub children: *mut *mut ArrowArray,
    pub dictionary: *mut ArrowArray,
    pub release: Option<unsafe extern "C-unwind" fn(*mut ArrowArray)>,
    pub private_data: *mut c_void,
}

/// A struct's flag of a field that may be null.
pub const ARROW_FLAG_NULLABLE: i64 = 2;
/// A map's flag: its keys are sorted.
pub const ARROW_FLAG_MAP_KEYS_SORTED: i64 = 4;

impl ArrowSchema {
    /// One that holds nothing.
    pub const EMPTY: Self = Self {
        format: core::ptr::null(),
        name: core::ptr::null(),
        metadata: core::ptr::null(),
        flags: 0,
        n_children: 0,
        children: core::ptr::null_mut(),
        dictionary: core::ptr::null_mut(),
        release: None,
        private_data: core::ptr::null_mut(),
    };
}

impl ArrowArray {
    /// One that holds nothing.
    pub const EMPTY: Self = Self {
        length: 0,
        null_count: 0,
        offset: 0,
        n_buffers: 0,
        n_children: 0,
        buffers: core::ptr::null_mut(),
        children: core::ptr::null_mut(),
        dictionary: core::ptr::null_mut(),
        release: None,
        private_data: core::ptr::null_mut(),
    };
}

/// The header's `clinmill_status`.
pub type StatusCode = i32;

/// `clinmill_str`: borrowed UTF-8.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs, reason = "said by the header")]
pub struct Str {
    pub ptr: *const c_char,
    pub len: usize,
}

impl Str {
    /// No text at all.
    pub const NONE: Self = Self {
        ptr: core::ptr::null(),
        len: 0,
    };

    /// A view of this text, for as long as it lives.
    pub const fn of(text: &str) -> Self {
        Self {
            ptr: text.as_ptr().cast(),
            len: text.len(),
        }
    }
}

macro_rules! structs {
    ($($(#[$doc:meta])* $name:ident $(derive($($derive:ident),*))? { $($field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            $(#[derive($($derive),*)])?
            #[derive(Debug)]
            #[repr(C)]
            #[allow(missing_docs, reason = "said by the header")]
            pub struct $name { $(pub $field: $type,)* }
        )*
    };
}

structs! {
    /// `clinmill_buf`: owned bytes.
    Buf { ptr: *mut u8, len: usize, private_data: *mut c_void, release: Option<unsafe extern "C-unwind" fn(*mut Buf)>, }
    /// `clinmill_error`.
    Error {
        struct_size: u32, retry: i32, retry_after_ms: u32, has_offset: u32, offset: u64,
        code: Str, message: Str, config_pointer: Str,
        private_data: *mut c_void, release: Option<unsafe extern "C-unwind" fn(*mut Error)>,
    }
    /// `clinmill_host`.
    Host {
        struct_size: u32, abi_minor: u32, ctx: *mut c_void,
        mem_reserve: Option<unsafe extern "C-unwind" fn(*mut c_void, i64) -> i32>,
        get_extension: Option<unsafe extern "C-unwind" fn(*mut c_void, Str) -> *const c_void>,
    }
    /// `clinmill_panicked`: the extension of the name [`PANICKED`](crate::PANICKED).
    Panicked {
        struct_size: u32, reserved: u32, ctx: *mut c_void,
        panicked: Option<unsafe extern "C-unwind" fn(*mut c_void, Str)>,
    }
    /// `clinmill_task`.
    Task { struct_size: u32, target_batch_rows: u32, cancelled: *const u8, }
    /// `clinmill_resource`.
    Resource derive(Clone, Copy) { reference: Str, file: Str, ptr: *const u8, len: usize, }
    /// `clinmill_bind`.
    Bind {
        struct_size: u32, n_resources: u32, config_json: Str, name: Str, timezone: Str,
        resources: *const Resource, input: *const ArrowSchema,
    }
    /// `clinmill_lifecycle_vt`.
    LifecycleVt {
        struct_size: u32, reserved: u32,
        check: Option<unsafe extern "C-unwind" fn(Str, *mut Buf, *mut Error) -> StatusCode>,
        bind: Option<unsafe extern "C-unwind" fn(*const Bind, *mut *mut Instance, *mut Error) -> StatusCode>,
        probe: Option<unsafe extern "C-unwind" fn(*mut Instance, *const Task, *mut Buf, *mut Error) -> StatusCode>,
        release: Option<unsafe extern "C-unwind" fn(*mut Instance)>,
    }
    /// `clinmill_record`.
    Record {
        struct_size: u32, key: u32, fold: u32, subject: u32, name: Str,
        key_columns: *const Str, n_key_columns: usize, schema: ArrowSchema,
    }
    /// `clinmill_capture`.
    Capture derive(Clone, Copy) { name: Str, value: Str, }
    /// `clinmill_input`.
    Input {
        struct_size: u32, n_captures: u32, ctx: *mut c_void, name: Str, captures: *const Capture, size: u64,
        read_at: Option<unsafe extern "C-unwind" fn(*mut c_void, u64, *mut u8, usize) -> i64>,
    }
    /// `clinmill_split`.
    Split derive(Clone, Copy) { start: u64, end: u64, }
    /// `clinmill_locator`.
    Locator derive(Clone, Copy) { offset: u64, length: u64, row: u64, part: u32, cell: u32, }
    /// `clinmill_rejection`.
    Rejection derive(Clone, Copy) { struct_size: u32, kind: i32, code: Str, message: Str, at: Locator, }
    /// `clinmill_link`.
    Link derive(Clone, Copy) {
        struct_size: u32, reserved: u32, survivor_issuer: Str, survivor_id: Str, retired_issuer: Str, retired_id: Str,
        version: Str, at: Locator,
    }
    /// `clinmill_records`.
    Records {
        struct_size: u32, reserved: u32, ctx: *mut c_void,
        rows: Option<unsafe extern "C-unwind" fn(*mut c_void, u32, *mut ArrowArray, *const ArrowSchema) -> StatusCode>,
        reject: Option<unsafe extern "C-unwind" fn(*mut c_void, *const Rejection) -> StatusCode>,
        link: Option<unsafe extern "C-unwind" fn(*mut c_void, *const Link) -> StatusCode>,
        filtered: Option<unsafe extern "C-unwind" fn(*mut c_void, Str, u64)>,
        progress: Option<unsafe extern "C-unwind" fn(*mut c_void, u64)>,
    }
    /// `clinmill_splits`.
    Splits { ctx: *mut c_void, add: Option<unsafe extern "C-unwind" fn(*mut c_void, Split) -> StatusCode>, }
    /// `clinmill_source_vt`.
    SourceVt {
        struct_size: u32, reserved: u32,
        n_records: Option<unsafe extern "C-unwind" fn(*const Instance) -> u32>,
        record: Option<unsafe extern "C-unwind" fn(*const Instance, u32, *mut Record, *mut Error) -> StatusCode>,
        splits: Option<unsafe extern "C-unwind" fn(*const Instance, *const Input, *const Splits, *mut Error) -> StatusCode>,
        read: Option<unsafe extern "C-unwind" fn(*const Instance, *const Input, *const Split, *const Task, *const Records,
            *mut Error) -> StatusCode>,
    }
    /// `clinmill_emit`.
    Emit {
        struct_size: u32, reserved: u32, ctx: *mut c_void,
        emit: Option<unsafe extern "C-unwind" fn(*mut c_void, u32, *mut ArrowArray, *const ArrowSchema) -> StatusCode>,
        count: Option<unsafe extern "C-unwind" fn(*mut c_void, Str, u64)>,
    }
    /// `clinmill_transform_vt`.
    TransformVt {
        struct_size: u32, reserved: u32,
        output: Option<unsafe extern "C-unwind" fn(*const Instance, *mut ArrowSchema, *mut Error) -> StatusCode>,
        open: Option<unsafe extern "C-unwind" fn(*const Instance, *const Task, *mut *mut Xform, *mut Error) -> StatusCode>,
        process: Option<unsafe extern "C-unwind" fn(*mut Xform, *mut ArrowArray, *const Emit, *mut Error) -> StatusCode>,
        finish: Option<unsafe extern "C-unwind" fn(*mut Xform, *const Emit, *mut Error) -> StatusCode>,
        release: Option<unsafe extern "C-unwind" fn(*mut Xform)>,
        cancel: Option<unsafe extern "C-unwind" fn(*mut Xform)>,
    }
    /// `clinmill_run`.
    Run { struct_size: u32, reserved: u32, run_id: Str, task: *const Task, }
    /// `clinmill_sink_vt`.
    SinkVt {
        struct_size: u32, reserved: u32,
        open: Option<unsafe extern "C-unwind" fn(*const Instance, *const Run, *mut *mut Writer, *mut Error) -> StatusCode>,
        write: Option<unsafe extern "C-unwind" fn(*mut Writer, *mut ArrowArray, *mut Error) -> StatusCode>,
        prepare: Option<unsafe extern "C-unwind" fn(*mut Writer, *mut Buf, *mut Error) -> StatusCode>,
        commit: Option<unsafe extern "C-unwind" fn(*const Instance, *const Run, *const Str, usize, *mut Buf, *mut Error)
            -> StatusCode>,
        resolve: Option<unsafe extern "C-unwind" fn(*const Instance, *const Run, *mut i32, *mut Buf, *mut Error) -> StatusCode>,
        abort: Option<unsafe extern "C-unwind" fn(*const Instance, *const Run, *const Str, usize, *mut Error) -> StatusCode>,
        release: Option<unsafe extern "C-unwind" fn(*mut Writer)>,
    }
    /// `clinmill_component`.
    Component {
        struct_size: u32, kind: u32, caps: u64, name: Str, version: Str, summary: Str,
        schema: Option<unsafe extern "C-unwind" fn(*mut Buf, *mut Error) -> StatusCode>,
        lifecycle: *const LifecycleVt, vt: *const c_void,
    }
    /// `clinmill_plugin`.
    Plugin {
        magic: u32, struct_size: u32, abi_major: u32, abi_minor: u32,
        target_triple: [u8; 64], name: [u8; 64], version: [u8; 32],
        init: Option<unsafe extern "C-unwind" fn(*const Host, *mut Error) -> StatusCode>,
        n_components: u32, reserved: u32, components: *const *const Component,
    }
}

/// `clinmill_instance`: opaque.
pub enum Instance {}
/// `clinmill_xform`: opaque.
pub enum Xform {}
/// `clinmill_writer`: opaque.
pub enum Writer {}

impl Buf {
    /// No bytes.
    pub const EMPTY: Self = Self {
        ptr: core::ptr::null_mut(),
        len: 0,
        private_data: core::ptr::null_mut(),
        release: None,
    };
}

impl Error {
    /// As a caller passes it.
    pub const EMPTY: Self = Self {
        struct_size: size_of::<Self>() as u32,
        retry: 0,
        retry_after_ms: 0,
        has_offset: 0,
        offset: 0,
        code: Str::NONE,
        message: Str::NONE,
        config_pointer: Str::NONE,
        private_data: core::ptr::null_mut(),
        release: None,
    };
}

// SAFETY: the tables are static data that nobody writes, and their slots may be called from any thread.
unsafe impl Sync for Component {}
// SAFETY: as above.
unsafe impl Sync for Plugin {}

/// A text of a [`Plugin`]: cut to the array and padded with NUL.
pub const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let (mut out, bytes) = ([0; N], text.as_bytes());
    let mut i = 0;
    while i < bytes.len() && i < N {
        out[i] = bytes[i];
        i += 1;
    }
    out
}
