import { damaged, ParquetProblem } from './problem.js';
import { leavesOf, PHYSICAL_TYPES, type SchemaNode, schemaTree } from './schema-tree.js';
import { count, isStruct, structs, ThriftReader, type ThriftStruct, text } from './thrift.js';

export const CODECS = ['UNCOMPRESSED', 'SNAPPY', 'GZIP', 'LZO', 'BROTLI', 'LZ4', 'ZSTD', 'LZ4_RAW'] as const;
export type Codec = (typeof CODECS)[number];

/** Where the pages of one leaf lie in one row group. */
export interface ColumnChunk {
  readonly codec: Codec;
  readonly values: number;
  readonly start: number;
  readonly end: number;
}

export interface RowGroup {
  readonly rows: number;
  /** One per leaf of the schema, in its order. */
  readonly chunks: readonly ColumnChunk[];
}

export interface ParquetMetadata {
  readonly root: SchemaNode;
  readonly leaves: readonly SchemaNode[];
  readonly rowGroups: readonly RowGroup[];
}

/** `length` bytes of the file from `start`. */
export type ReadBytes = (start: number, length: number) => Promise<Uint8Array>;

const MAGIC = 'PAR1';
const TAIL = 8;
const MAX_FOOTER = 1 << 28;

/**
 * The footer of a Parquet file: the schema, and where the columns lie. Everything it says is checked against the size of the
 * file and against itself: counts of rows, values and columns, and that no two columns share bytes.
 */
export async function readMetadata(size: number, read: ReadBytes): Promise<ParquetMetadata> {
  if (size < MAGIC.length + TAIL) throw damaged(`the file has only ${size} bytes`);
  const head = ascii(await read(0, MAGIC.length));
  const tail = await read(size - TAIL, TAIL);
  const end = ascii(tail.subarray(4));
  if (end === 'PARE') throw new ParquetProblem('the file is encrypted, which is not supported.');
  if (head !== MAGIC && end !== MAGIC)
    throw new ParquetProblem('this is no Parquet file: it does not begin with "PAR1".');
  if (head !== MAGIC || end !== MAGIC) throw damaged('"PAR1" does not stand at both ends of the file');
  const length = new DataView(tail.buffer, tail.byteOffset).getUint32(0, true);
  const footer = size - TAIL - length;
  if (footer < MAGIC.length) throw damaged(`the footer has ${length} bytes, the file ${size}`);
  if (length > MAX_FOOTER) throw new ParquetProblem(`the footer has ${length} bytes; at most ${MAX_FOOTER} are read.`);
  const metadata = new ThriftReader(await read(footer, length)).struct();

  const root = schemaTree(structs(metadata.get(2), 'the schema'));
  const leaves = leavesOf(root);
  const rowGroups = structs(metadata.get(4), 'the list of row groups').map((group, i) => {
    const rows = count(group, 3, 'the number of rows');
    const chunks = structs(group.get(1), 'the list of columns');
    if (chunks.length !== leaves.length) {
      throw damaged(`row group ${i + 1} has ${chunks.length} columns, the schema ${leaves.length}`);
    }
    return { rows, chunks: chunks.map((chunk, j) => columnChunk(chunk, leaves[j]!, rows, footer, i + 1)) };
  });
  const rows = rowGroups.reduce((sum, group) => sum + group.rows, 0);
  const said = count(metadata, 3, 'the number of rows');
  if (rows !== said) throw damaged(`the row groups have ${rows} rows together, the file says ${said}`);
  if (leaves.length === 0 && rows > 0) throw damaged(`it has ${rows} rows, but no columns`);
  assertApart(rowGroups.flatMap((group) => group.chunks));
  return { root, leaves, rowGroups };
}

function columnChunk(chunk: ThriftStruct, leaf: SchemaNode, rows: number, footer: number, group: number): ColumnChunk {
  const place = `row group ${group}, column "${leaf.path.join('.')}"`;
  if (chunk.has(1)) throw new ParquetProblem(`${place}: its data lie in another file, which is not supported.`);
  if (chunk.has(8)) throw new ParquetProblem(`${place}: it is encrypted, which is not supported.`);
  const metadata = chunk.get(3);
  if (!isStruct(metadata)) throw damaged(`${place}: it has no metadata`);
  const path = metadata.get(3);
  if (!Array.isArray(path) || path.length !== leaf.path.length || path.some((name, i) => text(name) !== leaf.path[i])) {
    throw damaged(`${place}: its path in the row group is another one`);
  }
  if (PHYSICAL_TYPES[count(metadata, 1, 'a type')] !== leaf.physical) {
    throw damaged(`${place}: its type in the row group is another one`);
  }
  const codec = CODECS[count(metadata, 4, `${place}: the codec`)];
  if (codec === undefined) throw damaged(`${place}: the codec is unknown`);
  const values = count(metadata, 5, `${place}: the number of values`);
  if (leaf.maxRepetition === 0 ? values !== rows : values < rows) {
    throw damaged(`${place}: it has ${values} values for ${rows} rows`);
  }
  // Without values there need be no pages, and writers say anything about where they are.
  if (values === 0) return { codec, values, start: MAGIC.length, end: MAGIC.length };
  const data = count(metadata, 9, `${place}: its offset`);
  // Some writers say 0, or repeat the data's offset, where there is no dictionary.
  const dictionary = count(metadata, 11, `${place}: the offset of its dictionary`, 0);
  const start = dictionary > 0 && dictionary < data ? dictionary : data;
  const end = start + count(metadata, 7, `${place}: its size`);
  if (start < MAGIC.length || end > footer) throw damaged(`${place}: bytes ${start} to ${end} are outside the data`);
  return { codec, values, start, end };
}

function assertApart(chunks: readonly ColumnChunk[]): void {
  const sorted = chunks.filter((chunk) => chunk.end > chunk.start).sort((a, b) => a.start - b.start);
  for (const [i, chunk] of sorted.entries()) {
    if (i > 0 && chunk.start < sorted[i - 1]!.end) throw damaged('two columns share bytes of the file');
  }
}

function ascii(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
