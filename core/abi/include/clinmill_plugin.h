/* clinmill_plugin.h: the boundary between clinmill and native plugins, ABI major 1. FROZEN.
 *
 * This header is the source of truth. It is C11 and C++17 clean, and needs nothing but the C library's headers.
 *
 * How it may change: structs grow at their end only, under a new CLINMILL_ABI_MINOR; no field moves, no number changes its
 * meaning, no slot changes its contract. Every struct that may grow begins with its size as its maker compiled it
 * (struct_size); the reader takes a field as absent when it lies beyond that size. A plugin built against an older minor
 * loads in a newer host, and one built against a newer minor loads in an older host, which does not look at what it does
 * not know. What is not data of every plugin comes by get_extension, by name. Define CLINMILL_ABI_MINOR before including
 * to build against an older minor.
 *
 * Rules that hold throughout
 *   memory     What a side allocates, that side frees. Strings and structs passed to a call are borrowed for the call only,
 *              unless their text says otherwise. Arrow structs are moved: the receiver calls release, once. What a plugin
 *              hands over is released on a thread of the host's, maybe after its handle and its instance.
 *   strings    UTF-8 with a length, without NUL. ptr may be NULL where len is 0. Where a text may be absent, ptr NULL says so.
 *   threads    The host calls from any thread. An instance is used by several threads at once and does not change after
 *              bind. A handle (clinmill_xform, clinmill_writer) is used by one thread at a time, not always the same one.
 *              A plugin's callbacks into the host (emit, read_at, ...) come from the thread that the host called on, and
 *              only while that call lasts; mem_reserve and get_extension may come from any thread at any time.
 *   unwinding  No function unwinds across the boundary. After CLINMILL_PANIC the host releases the handle and calls nothing
 *              else of it.
 *   time       A call polls task->cancelled between batches and about every 100 ms. The host gives a call up for lost when
 *              its time limit has passed: the plugin is then not called again, and nothing it made is used. So it is with
 *              every release but that of an instance at the end of a command, which comes after what was published: that one is
 *              a warning. Where the host is told to stop, splits, which has no task, is waited for two seconds more. A read has its time anew with each call back to the host, as long as it gets on: hands over a
 *              record, a rejection or a link, or reads of its input what it had not read (ten minutes by default).
 *   data       Arrow C Data Interface, plain types only: no view types, no dictionaries, no run ends. Buffers handed to the
 *              plugin are read-only, also after it has moved them on. Every array is a struct array whose own validity is
 *              absent (no null rows). A batch has 1,048,576 rows at most; no array within it, and no text or list in all, has
 *              more than 2^31 elements or bytes. Every decimal has no more digits than its type says. Names of columns hold no
 *              control characters, and a zone of times is one of the IANA database or an offset (+08:00).
 *   options    By the schema that describes them the host checks $ref (into the schema itself), type, const, enum, properties,
 *              required, additionalProperties, unevaluatedProperties, minProperties, maxProperties, items, prefixItems, minItems,
 *              maxItems, uniqueItems, minLength, maxLength, minimum, maximum, exclusiveMinimum, exclusiveMaximum, allOf, anyOf,
 *              oneOf and $defs. A plugin whose schema has another keyword that would refuse options (pattern, not, if, ...) is
 *              not loaded: such things are said by check. What describes (title, default, format, x-...) may stand there.
 *   secrecy    No code, message or name holds a row's value, a path or a secret.
 *   codes      [A-Z][A-Z0-9_]*, 64 bytes at most, with four digits at most in all: "HL7_NO_MSH". Of rejections one plugin has
 *              256 at most in a run of the host. Another code is an error of the plugin.
 *   names      of counts and of rules: words with one space between, 64 bytes at most. The first is [a-z][a-z0-9_.,-]*. The
 *              others are such words, too, or shapes: ASCII punctuation, one of the signs U+2191 U+2193 U+00B1 U+00D7 U+FF5E
 *              U+2014 U+FF0C U+FF08 U+FF09 U+FF1A U+FF1B U+3001 U+3002 U+2026, and a, 9 or U+5B57 for letters, digits and
 *              Chinese characters, 9 not twice in a row. The words that are no shapes have four digits at most in all. A rule
 *              may begin with the name of a kind of records and a full stop. 256 at most, as codes. Another name is an error.
 *   kinds      of records: [A-Za-z][A-Za-z0-9_]*, 64 bytes at most, no two alike; the only kind of a source may have none.
 *   messages   4,096 bytes of one are kept, without control and format characters (Unicode Cc, Cf). Those of calls that see
 *              rows are not shown: what the schema of the options says of their code is, under "x-codes": {"CODE": "text"}.
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

/* ---- Arrow C Data Interface: as the Arrow specification defines it, with its include guard ---- */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE
#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4
struct ArrowSchema { const char* format; const char* name; const char* metadata; int64_t flags; int64_t n_children;
  struct ArrowSchema** children; struct ArrowSchema* dictionary; void (*release)(struct ArrowSchema*); void* private_data; };
struct ArrowArray { int64_t length; int64_t null_count; int64_t offset; int64_t n_buffers; int64_t n_children;
  const void** buffers; struct ArrowArray** children; struct ArrowArray* dictionary;
  void (*release)(struct ArrowArray*); void* private_data; };
#endif

#define CLINMILL_MAGIC 0x314C4D43u          /* "CML1" in memory, little endian */
#define CLINMILL_ABI_MAJOR 1u               /* also in the name of the symbol */
#ifndef CLINMILL_ABI_MINOR
#define CLINMILL_ABI_MINOR 1u               /* what was appended since 1.0: the parts marked "since 1.1" */
#endif

/* The target the plugin is compiled for; the host refuses another than its own. Define it where this guess is wrong. */
#ifndef CLINMILL_TARGET_TRIPLE
#if defined(__linux__) && defined(__x86_64__)
#define CLINMILL_TARGET_TRIPLE "x86_64-unknown-linux-gnu"
#elif defined(__linux__) && defined(__aarch64__)
#define CLINMILL_TARGET_TRIPLE "aarch64-unknown-linux-gnu"
#else
#define CLINMILL_TARGET_TRIPLE "unknown"
#endif
#endif

/* ---- status: closed set, never renumbered ---- */
typedef int32_t clinmill_status;
enum { CLINMILL_OK = 0, CLINMILL_CANCELLED = 1, CLINMILL_INVALID_CONFIG = 2, CLINMILL_INVALID_DATA = 3, CLINMILL_INVALID_STATE = 4,
  CLINMILL_UNSUPPORTED = 5, CLINMILL_NOT_FOUND = 6, CLINMILL_UNAUTHENTICATED = 7, CLINMILL_UNAUTHORIZED = 8, CLINMILL_IO = 9,
  CLINMILL_TIMEOUT = 10, CLINMILL_RESOURCE_EXHAUSTED = 11, CLINMILL_CONFLICT = 12, CLINMILL_COMMIT_UNKNOWN = 13,
  CLINMILL_INTERNAL = 14, CLINMILL_PANIC = 15 };
enum { CLINMILL_RETRY_NEVER = 0, CLINMILL_RETRY_LATER = 1, CLINMILL_RETRY_NOW = 2 };

/* ---- strings and bytes ---- */
typedef struct clinmill_str { const char* ptr; size_t len; } clinmill_str;
/* Owned bytes. The caller passes it zeroed; who fills it sets release, which the caller calls once when it is not NULL. */
typedef struct clinmill_buf { uint8_t* ptr; size_t len; void* private_data; void (*release)(struct clinmill_buf*); } clinmill_buf;

/* ---- errors: the caller zeroes it, sets struct_size and passes it; the plugin fills it when it returns other than OK.
 * The caller calls release once when it is not NULL, from any thread, before it zeroes or drops the struct. ---- */
typedef struct clinmill_error { uint32_t struct_size; int32_t retry;
  uint32_t retry_after_ms; uint32_t has_offset;    /* has_offset 1: offset is the byte of the input that is at fault */
  uint64_t offset;
  clinmill_str code;               /* stable, upper case with the plugin's prefix: "HL7_NO_MSH" (see codes); empty: PLUGIN_FAILED */
  clinmill_str message;            /* for people; not empty */
  clinmill_str config_pointer;     /* RFC 6901 pointer into the options; ptr NULL: not the options' fault */
  void* private_data; void (*release)(struct clinmill_error*); } clinmill_error;

/* ---- host services. The table lives as long as the process. Every function is thread-safe, does not block and does not
 * unwind. ---- */
typedef struct clinmill_host { uint32_t struct_size, abi_minor; void* ctx;
  /* Before allocating about delta_bytes (negative: after freeing). 0: granted. Other: refused, and the call should end with
   * CLINMILL_RESOURCE_EXHAUSTED. Small and short-lived memory need not be told. */
  int32_t (*mem_reserve)(void* ctx, int64_t delta_bytes);
  /* A table by name and version ("clinmill.object_store/1"), or NULL. Lives as long as the process. */
  const void* (*get_extension)(void* ctx, clinmill_str name);
} clinmill_host;

/* The extension "clinmill.panicked/1": tells of a panic, or of an exception, in a slot that returns no error (release). `what`
 * is "the plugin panicked", or "the plugin panicked at src/lib.rs:12"; the host shows nothing else. From any thread at any
 * time. */
typedef struct clinmill_panicked { uint32_t struct_size, reserved; void* ctx;
  void (*panicked)(void* ctx, clinmill_str what);
} clinmill_panicked;

/* ---- what a running task is told. Lives from open (or read) until the handle is released (or read returns). ---- */
typedef struct clinmill_task { uint32_t struct_size, target_batch_rows;   /* rows a batch should have, about; at least 1 */
  const volatile uint8_t* cancelled;                                      /* never NULL; the host writes 1: stop soon */
} clinmill_task;

typedef struct clinmill_instance clinmill_instance;   /* opaque, the plugin's; immutable, used from several threads at once */
typedef struct clinmill_xform clinmill_xform;         /* opaque, the plugin's; one call at a time */
typedef struct clinmill_writer clinmill_writer;       /* opaque, the plugin's; one call at a time */

/* ---- what bind may look at; all of it borrowed for the call ---- */
typedef struct clinmill_resource { clinmill_str reference, file; const uint8_t* ptr; size_t len; } clinmill_resource;
typedef struct clinmill_bind { uint32_t struct_size, n_resources;
  clinmill_str config_json;                /* the options: an object that fits the component's schema */
  clinmill_str name;                       /* of the source or step in the pipeline */
  clinmill_str timezone;                   /* the pipeline's, an IANA name; ptr NULL: none */
  const clinmill_resource* resources;      /* mapping files: the reference that the options hold, the file's name, its bytes */
  const struct ArrowSchema* input;         /* transforms and sinks: a struct of the columns to come; not moved. Sources: NULL */
} clinmill_bind;

/* ---- the phases that all components share ---- */
typedef struct clinmill_lifecycle_vt { uint32_t struct_size, reserved;
  /* Pure: no I/O, no threads. Says what a JSON Schema cannot say about options that fit the schema. findings_json: an array
   * of {"code","pointer","message","hint"?}; left empty: nothing to say. Any thread, several at once. */
  clinmill_status (*check)(clinmill_str config_json, clinmill_buf* findings_json, clinmill_error*);
  /* Pure. On OK *instance is not NULL; the host releases it when no call of it or of its handles is under way.
   * Any thread, several at once. The host has called check before, with the same options. */
  clinmill_status (*bind)(const clinmill_bind*, clinmill_instance** instance, clinmill_error*);
  /* Sinks; may be NULL, and is never called on other kinds. I/O without effects: is what the options name there, and could a
   * run write to it? Frees what it opened. report_json: what people are shown, or left empty. Any thread, before open. */
  clinmill_status (*probe)(clinmill_instance*, const clinmill_task*, clinmill_buf* report_json, clinmill_error*);
  /* Once for every instance, last. */
  void (*release)(clinmill_instance*);
} clinmill_lifecycle_vt;

/* ---- sources: from the bytes of an input to batches of records ---- */
enum { CLINMILL_KEY_CONTENT = 0, CLINMILL_KEY_COLUMNS = 1 };
enum { CLINMILL_FOLD_REPLACE = 0, CLINMILL_FOLD_PATCH = 1 };

/* One kind of record. The caller sets struct_size and zeroes the rest. name and key_columns live as long as the instance;
 * schema (a struct of the record's columns, all nullable) is moved to the caller. */
typedef struct clinmill_record { uint32_t struct_size;
  uint32_t key;                            /* CLINMILL_KEY_*: what makes it the same record when it comes again */
  uint32_t fold;                           /* CLINMILL_FOLD_*: how versions of one record combine */
  uint32_t subject;                        /* 0: a reference, about no subject; 1: about one */
  clinmill_str name;                       /* empty: the only kind (see kinds) */
  const clinmill_str* key_columns; size_t n_key_columns;
  struct ArrowSchema schema;
} clinmill_record;

typedef struct clinmill_capture { clinmill_str name, value; } clinmill_capture;
/* The bytes of one input; lives for the call. */
typedef struct clinmill_input { uint32_t struct_size, n_captures; void* ctx;
  clinmill_str name;                       /* for messages of the same run only: it may hold identifiers */
  const clinmill_capture* captures;        /* what the {name} patterns of the glob captured */
  uint64_t size;
  /* Reads at offset into buf (host to plugin); returns how many bytes, 0 only at the end (or for len 0), below 0: minus a
   * status, which the call should return. May block. */
  int64_t (*read_at)(void* ctx, uint64_t offset, uint8_t* buf, size_t len);
} clinmill_input;

typedef struct clinmill_split { uint64_t start, end; } clinmill_split;    /* bytes; end exclusive */

/* Where in its input a record stands: bytes as received; row is 1-based, and 0 for no record (a rejection or link may have
 * it); cell 0: not one cell. */
typedef struct clinmill_locator { uint64_t offset, length, row; uint32_t part, cell; } clinmill_locator;
typedef struct clinmill_rejection { uint32_t struct_size; int32_t kind;    /* index of the record kind, -1: not known */
  clinmill_str code, message; clinmill_locator at; } clinmill_rejection;
/* An identifier that another one replaces. version ptr NULL: none. */
typedef struct clinmill_link { uint32_t struct_size, reserved;
  clinmill_str survivor_issuer, survivor_id, retired_issuer, retired_id, version; clinmill_locator at; } clinmill_link;

/* Where a source pushes what it reads, each record once. Host-provided, lives for the call. A function that returns other
 * than 0 has a reason to stop: the call should return that status. Strings are copied. */
typedef struct clinmill_records { uint32_t struct_size, reserved; void* ctx;
  /* Rows of one kind. moved: a struct array of the kind's columns, then nine columns of what the host must know of each row:
   * issuer utf8 (no nulls), subject utf8 (null for references only), version utf8, void uint8 (0 or 1, no nulls),
   * offset, length, row uint64 (no nulls), part uint32 (no nulls), cell uint32. Ownership passes whatever is returned.
   * schema: what the kind's columns are (without the nine), when it is not certain that they are as promised; borrowed;
   * else NULL. */
  clinmill_status (*rows)(void* ctx, uint32_t kind, struct ArrowArray* moved, const struct ArrowSchema* schema);
  clinmill_status (*reject)(void* ctx, const clinmill_rejection*);
  clinmill_status (*link)(void* ctx, const clinmill_link*);
  void (*filtered)(void* ctx, clinmill_str rule, uint64_t count);          /* records that the options leave out (see names) */
  void (*progress)(void* ctx, uint64_t bytes);                             /* bytes read since the last call */
} clinmill_records;

/* Where the splits of an input are put, in order. Host-provided, lives for the call. */
typedef struct clinmill_splits { void* ctx; clinmill_status (*add)(void* ctx, clinmill_split); } clinmill_splits;

typedef struct clinmill_source_vt { uint32_t struct_size, reserved;
  /* How many kinds of records there are; the same for the life of the instance. Does not fail. */
  uint32_t (*n_records)(const clinmill_instance*);
  /* Describes kind 0 to n_records - 1. */
  clinmill_status (*record)(const clinmill_instance*, uint32_t index, clinmill_record* out, clinmill_error*);
  /* Cuts an input into parts that can be read on their own: all of it, in order, from 0 to its size, each beginning where the
   * one before it ends; 65,536 at most. Other parts end the refresh. Asked for large inputs. May be NULL: one part. */
  clinmill_status (*splits)(const clinmill_instance*, const clinmill_input*, const clinmill_splits*, clinmill_error*);
  /* Reads one split to its end. A bad record is a rejection; an error gives up the whole input. Several at once. */
  clinmill_status (*read)(const clinmill_instance*, const clinmill_input*, const clinmill_split*, const clinmill_task*,
                      const clinmill_records*, clinmill_error*);
} clinmill_source_vt;

/* ---- transforms: from rows to rows ---- */
enum { CLINMILL_PORT_MAIN = 0, CLINMILL_PORT_REJECTED = 1 };
/* Host-provided, lives for the call. A function that returns other than 0 has a reason to stop: the call should return
 * that status. */
typedef struct clinmill_emit { uint32_t struct_size, reserved; void* ctx;
  /* CLINMILL_PORT_MAIN: moved is a struct array of the output's columns and, if it has one column more, "_in": list<uint64>,
   * for each row the rows of the batch in process that it comes from. Without it (or with empty lists) row i comes from
   * row i, and there are as many rows as in that batch. CLINMILL_PORT_REJECTED: columns row uint32 (of the batch in process), code utf8, message utf8; no nulls. Such a
   * row is not in the output. Ownership passes whatever is returned. Arrays of a call may share owner and buffers; one that is
   * alike in every field to an earlier one of the call (private_data not NULL) is that one once more: refused, and released
   * once. schema: what the columns are (without "_in"), when it is not certain that they are the output's; borrowed; else
   * NULL. */
  clinmill_status (*emit)(void* ctx, uint32_t port, struct ArrowArray* moved, const struct ArrowSchema* schema);
  void (*count)(void* ctx, clinmill_str name, uint64_t n);                 /* adds to a named count, such as "unmapped" (see names) */
} clinmill_emit;

typedef struct clinmill_transform_vt { uint32_t struct_size, reserved;
  /* The columns of the rows it yields, a struct, moved to the caller. Does not change. */
  clinmill_status (*output)(const clinmill_instance*, struct ArrowSchema* out, clinmill_error*);
  /* Begins a run over one partition. Several runs at once. task lives until the run is released. */
  clinmill_status (*open)(const clinmill_instance*, const clinmill_task*, clinmill_xform**, clinmill_error*);
  /* Takes one batch, moved: the plugin releases it, also when it fails. The rows that come from it are emitted in this call. */
  clinmill_status (*process)(clinmill_xform*, struct ArrowArray* moved, const clinmill_emit*, clinmill_error*);
  /* After the last batch, once, if all went well. It may count. There is no batch that rows could come from: to emit some, or
   * to reject some, is an error. */
  clinmill_status (*finish)(clinmill_xform*, const clinmill_emit*, clinmill_error*);
  /* Once for every run, before its instance is released. */
  void (*release)(clinmill_xform*);
#if CLINMILL_ABI_MINOR >= 1
  /* Since 1.1, may be NULL. From another thread while a call of the run lasts; idempotent; does not block. The host has
   * written *task->cancelled before. */
  void (*cancel)(clinmill_xform*);
#endif
} clinmill_transform_vt;

/* ---- sinks: take a release's changes. open, write, prepare on each partition; commit or abort once, on the coordinator.
 * Everything is idempotent by run: a call that is repeated with the same run has the effect of one. ---- */
typedef struct clinmill_run { uint32_t struct_size, reserved; clinmill_str run_id; const clinmill_task* task; } clinmill_run;
typedef struct clinmill_sink_vt { uint32_t struct_size, reserved;
  clinmill_status (*open)(const clinmill_instance*, const clinmill_run*, clinmill_writer**, clinmill_error*);
  clinmill_status (*write)(clinmill_writer*, struct ArrowArray* moved, clinmill_error*);      /* as process: released by the plugin */
  /* What was written is durable and not visible. token: what commit needs to know, readable in another process. */
  clinmill_status (*prepare)(clinmill_writer*, clinmill_buf* token, clinmill_error*);
  /* Makes it visible, all of it or nothing. CLINMILL_COMMIT_UNKNOWN: nobody knows; the host then asks resolve. */
  clinmill_status (*commit)(const clinmill_instance*, const clinmill_run*, const clinmill_str* tokens, size_t n,
                        clinmill_buf* receipt_json, clinmill_error*);
  /* Has this run's commit landed? *landed: 0 no, 1 yes. */
  clinmill_status (*resolve)(const clinmill_instance*, const clinmill_run*, int32_t* landed, clinmill_buf* receipt_json, clinmill_error*);
  /* Drops what was prepared. Not after a commit that may have landed. */
  clinmill_status (*abort)(const clinmill_instance*, const clinmill_run*, const clinmill_str* tokens, size_t n, clinmill_error*);
  void (*release)(clinmill_writer*);       /* once for every writer; without prepare before: drops what it wrote */
} clinmill_sink_vt;

/* ---- what a plugin consists of ---- */
enum { CLINMILL_KIND_SOURCE = 1, CLINMILL_KIND_TRANSFORM = 2, CLINMILL_KIND_SINK = 3 };
/* What a component can do and needs. The host acts on four of them:
 *   ROW_WISE       a transform yields or rejects each row of a batch once: the host counts, and ends the refresh where it does not
 *   SUBJECT_WISE   it needs all rows of a subject at once. Transforms are handed batches: one that says so is not loaded
 *   DATASET_WISE   it needs all rows of all subjects at once: as SUBJECT_WISE
 *   DETERMINISTIC  the same input gives the same output: of a step that is ROW_WISE too, rows that cannot change are not made
 *                  anew when its mapping files do
 * The others are shown to people, and compared with the plugin's manifest: SPLITS an input can be read in parts (the slot
 * splits decides), PROJECTION it can leave out columns, INCREMENTAL it can go on where it stopped, DELETES records may say that
 * an earlier one is void, UPSERT a sink takes changes of rows, REJECTS rows or records may be rejected. Unknown bits are
 * left alone. */
enum { CLINMILL_CAP_ROW_WISE = 1u << 0, CLINMILL_CAP_SUBJECT_WISE = 1u << 1, CLINMILL_CAP_DATASET_WISE = 1u << 2,
  CLINMILL_CAP_SPLITS = 1u << 3, CLINMILL_CAP_PROJECTION = 1u << 4, CLINMILL_CAP_INCREMENTAL = 1u << 5,
  CLINMILL_CAP_DELETES = 1u << 6, CLINMILL_CAP_UPSERT = 1u << 7, CLINMILL_CAP_REJECTS = 1u << 8,
  CLINMILL_CAP_DETERMINISTIC = 1u << 9 };

/* Static data of the library. */
typedef struct clinmill_component { uint32_t struct_size, kind; uint64_t caps;
  clinmill_str name, version, summary;     /* the name pipelines use; the component's version; one line */
  /* JSON Schema 2020-12 of the options, an object. Pure; after init. */
  clinmill_status (*schema)(clinmill_buf* schema_json, clinmill_error*);
  const clinmill_lifecycle_vt* lifecycle;
  const void* vt;                          /* clinmill_source_vt, clinmill_transform_vt or clinmill_sink_vt by kind */
} clinmill_component;

/* Static data of the library. The fields before init are read from the file, before any code of the plugin runs: texts in
 * arrays, padded with NUL. */
typedef struct clinmill_plugin { uint32_t magic, struct_size, abi_major, abi_minor;
  char target_triple[64], name[64], version[32];
  /* Once per process, before any other call, on any thread. The host's table lives as long as the process. May be NULL. */
  clinmill_status (*init)(const clinmill_host*, clinmill_error*);
  uint32_t n_components, reserved; const clinmill_component* const* components;
} clinmill_plugin;

/* The one exported symbol: a data symbol, initialised at compile time. */
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
extern const clinmill_plugin CLINMILL_PLUGIN_V1;

#ifdef __cplusplus
}
#endif
#endif
