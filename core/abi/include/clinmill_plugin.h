/* clinmill_plugin.h: the boundary between clinmill and native plugins, ABI major 1.
 *
 * This header is the source of truth. It is C11 and C++17 clean, and needs nothing but the C library's headers.
 * State: a draft. Nothing is loaded through it yet, and it may still change in any way; once the first plugin is built
 * against it, it is frozen: structs then only grow at their end, under a new ABI minor, and no number changes its meaning.
 *
 * Rules that hold throughout: every struct begins with its size; strings are borrowed UTF-8 without NUL; what a side
 * allocates, that side frees; no function unwinds across the boundary; no message holds a row's value or a secret.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CLINMILL_PLUGIN_H
#define CLINMILL_PLUGIN_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

/* ---- Arrow C Data / Stream Interface: as the Arrow specification defines them, with its include guards ---- */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE
struct ArrowSchema { const char* format; const char* name; const char* metadata; int64_t flags; int64_t n_children;
  struct ArrowSchema** children; struct ArrowSchema* dictionary; void (*release)(struct ArrowSchema*); void* private_data; };
struct ArrowArray { int64_t length; int64_t null_count; int64_t offset; int64_t n_buffers; int64_t n_children;
  const void** buffers; struct ArrowArray** children; struct ArrowArray* dictionary;
  void (*release)(struct ArrowArray*); void* private_data; };
#endif
#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE
struct ArrowArrayStream { int (*get_schema)(struct ArrowArrayStream*, struct ArrowSchema*);
  int (*get_next)(struct ArrowArrayStream*, struct ArrowArray*); const char* (*get_last_error)(struct ArrowArrayStream*);
  void (*release)(struct ArrowArrayStream*); void* private_data; };
#endif

#define CLINMILL_MAGIC   0x314C4D43u   /* "CML1" little endian */
#define CLINMILL_ABI_MAJOR 1u                   /* also in the symbol name */
#ifndef CLINMILL_ABI_MINOR
#define CLINMILL_ABI_MINOR 1u                   /* append-only additions */
#endif

/* ---- status: closed set, never renumbered ---- */
typedef int32_t clinmill_status;
enum { CLINMILL_OK = 0, CLINMILL_CANCELLED = 1, CLINMILL_INVALID_CONFIG = 2, CLINMILL_INVALID_DATA = 3, CLINMILL_INVALID_STATE = 4,
  CLINMILL_UNSUPPORTED = 5, CLINMILL_NOT_FOUND = 6, CLINMILL_UNAUTHENTICATED = 7, CLINMILL_UNAUTHORIZED = 8, CLINMILL_IO = 9,
  CLINMILL_TIMEOUT = 10, CLINMILL_RESOURCE_EXHAUSTED = 11, CLINMILL_CONFLICT = 12, CLINMILL_COMMIT_UNKNOWN = 13,
  CLINMILL_INTERNAL = 14, CLINMILL_PANIC = 15 };
enum { CLINMILL_RETRY_NEVER = 0, CLINMILL_RETRY_LATER = 1, CLINMILL_RETRY_NOW = 2 };

/* ---- strings and bytes ---- */
typedef struct { const char* ptr; size_t len; } clinmill_str;                       /* borrowed, UTF-8, not NUL-terminated */
typedef struct clinmill_buf { uint8_t* ptr; size_t len; void* private_data;         /* owned; producer frees */
  void (*release)(struct clinmill_buf*); } clinmill_buf;

/* ---- error: caller zero-initialises and sets struct_size ---- */
typedef struct clinmill_error { uint32_t struct_size; clinmill_status status; int32_t retry; uint32_t retry_after_ms;
  clinmill_str message;            /* for humans; MUST NOT contain row values or secrets */
  clinmill_str config_pointer;     /* RFC 6901 pointer into config_json; host maps it to file:line:col */
  clinmill_str details_json;       /* stable code, docs url, internal cause chain */
  void* private_data; void (*release)(struct clinmill_error*); } clinmill_error;

/* ---- host services, host -> plugin; every function thread-safe, non-blocking, never unwinds ---- */
typedef struct clinmill_host { uint32_t struct_size, abi_minor; void* ctx;
  void (*log)(void* ctx, int32_t level, clinmill_str target, clinmill_str msg, clinmill_str fields_json);
  void (*metric)(void* ctx, int32_t kind, clinmill_str name, double value, clinmill_str labels_json);
  int32_t (*mem_reserve)(void* ctx, int64_t delta_bytes);                       /* 0 = refused */
  const void* (*get_extension)(void* ctx, clinmill_str name);                       /* "clinmill.object_store/1", ... */
} clinmill_host;

/* ---- per-task context, valid from open() to release() of the handle it opened ---- */
typedef struct clinmill_task { uint32_t struct_size, partition, partitions, attempt; clinmill_str run_id, pipeline, node;
  const volatile uint32_t* cancelled;                                          /* host writes 1; poll between batches */
  int64_t deadline_unix_ms; uint32_t target_batch_rows; uint32_t reserved;
  void* host_ctx; void (*progress)(void* host_ctx, int64_t rows, int64_t bytes, double fraction); } clinmill_task;

typedef struct clinmill_instance clinmill_instance;   /* opaque, plugin-owned; immutable after bind, usable from any thread at once */
typedef struct clinmill_reader clinmill_reader;       /* opaque; one call at a time, any thread */
typedef struct clinmill_xform clinmill_xform;
typedef struct clinmill_writer clinmill_writer;

/* output ports of a transform or source: host-provided; takes ownership of the array; non-zero = stop */
enum { CLINMILL_PORT_MAIN = 0, CLINMILL_PORT_REJECTED = 1 };
typedef struct clinmill_emit { void* ctx; int32_t (*emit)(void* ctx, uint32_t port, struct ArrowArray* moved); } clinmill_emit;

typedef struct clinmill_lifecycle_vt { uint32_t struct_size, reserved;
  /* pure: no I/O, no threads; diagnostics_json = [{severity,code,pointer,message,hint}] */
  clinmill_status (*check)(clinmill_str config_json, clinmill_buf* diagnostics_json, clinmill_error*);
  /* pure: config with secrets resolved + input schemas -> instance and one schema per output port */
  clinmill_status (*bind)(clinmill_str config_json, clinmill_str secrets_json, const struct ArrowSchema* const* in, uint32_t n_in,
                      struct ArrowSchema* out, uint32_t n_out, clinmill_instance** instance, clinmill_error*);
  /* I/O allowed, no side effects, releases what it opened */
  clinmill_status (*probe)(clinmill_instance*, const clinmill_task*, clinmill_buf* report_json, clinmill_error*);
  void        (*release)(clinmill_instance*);
} clinmill_lifecycle_vt;

typedef struct clinmill_source_vt { uint32_t struct_size, reserved;
  clinmill_status (*discover)(clinmill_instance*, const clinmill_task*, clinmill_buf* catalog_json, clinmill_error*);
  /* state + request -> opaque splits, readable in another process */
  clinmill_status (*plan)(clinmill_instance*, const clinmill_task*, clinmill_str state_json, clinmill_str request_json,
                      clinmill_buf* splits, uint32_t* n_splits, clinmill_error*);
  clinmill_status (*open)(clinmill_instance*, const clinmill_task*, const uint8_t* split, size_t split_len,
                      struct ArrowArrayStream* out, clinmill_reader** reader, clinmill_error*);
  clinmill_status (*checkpoint)(clinmill_reader*, clinmill_buf* state_json, clinmill_error*);   /* covers all batches returned so far */
  void        (*last_error)(clinmill_reader*, clinmill_error*);                         /* structured twin of get_last_error */
  void        (*cancel)(clinmill_reader*);                                          /* any thread, idempotent, no blocking */
  void        (*release)(clinmill_reader*);
#if CLINMILL_ABI_MINOR >= 1
  clinmill_status (*estimate)(clinmill_reader*, int64_t* rows, int64_t* bytes, clinmill_error*);  /* added in 1.1 */
#endif
} clinmill_source_vt;

typedef struct clinmill_transform_vt { uint32_t struct_size, reserved;
  clinmill_status (*open)(clinmill_instance*, const clinmill_task*, clinmill_xform**, clinmill_error*);
  clinmill_status (*process)(clinmill_xform*, uint32_t in_port, struct ArrowArray* in_moved, const clinmill_emit*, clinmill_error*);
  clinmill_status (*finish)(clinmill_xform*, uint32_t in_port, const clinmill_emit*, clinmill_error*);
  void        (*cancel)(clinmill_xform*);
  void        (*release)(clinmill_xform*);
} clinmill_transform_vt;

typedef struct clinmill_sink_vt { uint32_t struct_size, reserved;
  clinmill_status (*open)(clinmill_instance*, const clinmill_task*, clinmill_writer**, clinmill_error*);
  clinmill_status (*write)(clinmill_writer*, struct ArrowArray* in_moved, clinmill_error*);
  clinmill_status (*prepare)(clinmill_writer*, clinmill_buf* token, clinmill_error*);           /* durable, invisible */
  /* once, on the coordinator, idempotent by task->run_id; may answer CLINMILL_COMMIT_UNKNOWN */
  clinmill_status (*commit)(clinmill_instance*, const clinmill_task*, const clinmill_str* tokens, size_t n, clinmill_str state_json,
                        clinmill_buf* receipt_json, clinmill_error*);
  clinmill_status (*resolve)(clinmill_instance*, const clinmill_task*, int32_t* landed, clinmill_buf* receipt_json, clinmill_error*);
  clinmill_status (*abort)(clinmill_instance*, const clinmill_task*, const clinmill_str* tokens, size_t n, clinmill_error*);
  void        (*cancel)(clinmill_writer*);
  void        (*release)(clinmill_writer*);
} clinmill_sink_vt;

enum { CLINMILL_KIND_SOURCE = 1, CLINMILL_KIND_TRANSFORM = 2, CLINMILL_KIND_SINK = 3 };
enum { CLINMILL_CAP_ROW_WISE = 1u << 0, CLINMILL_CAP_KEYED = 1u << 1, CLINMILL_CAP_GLOBAL = 1u << 2, CLINMILL_CAP_SPLITS = 1u << 3,
  CLINMILL_CAP_PROJECTION = 1u << 4, CLINMILL_CAP_INCREMENTAL = 1u << 5, CLINMILL_CAP_DELETES = 1u << 6, CLINMILL_CAP_UPSERT = 1u << 7,
  CLINMILL_CAP_REJECTS = 1u << 8, CLINMILL_CAP_DETERMINISTIC = 1u << 9 };
typedef struct clinmill_component { uint32_t struct_size, kind; uint64_t caps;
  clinmill_str name, version, config_schema_json, summary;                          /* JSON Schema 2020-12 */
  const clinmill_lifecycle_vt* lifecycle; const void* vt;                           /* clinmill_{source,transform,sink}_vt by kind */
} clinmill_component;

typedef struct clinmill_plugin { uint32_t magic, struct_size, abi_major, abi_minor; /* readable before any call */
  clinmill_str id, version, target_triple, build_json;
  clinmill_status (*init)(const clinmill_host*, clinmill_error*);                           /* once per process */
  uint32_t n_components, reserved; const clinmill_component* const* components;
} clinmill_plugin;

/* the one exported symbol: a data symbol */
extern const clinmill_plugin CLINMILL_PLUGIN_V1;

#ifdef __cplusplus
}
#endif
#endif
