import { crc32 } from 'node:zlib';
import { decodeIndices, decodeLevels, decodeValues, isDictionaryEncoding, lengthPrefixed } from './decode-page.js';
import { decompress } from './decompress.js';
import { convertValues } from './leaf-values.js';
import type { ColumnChunk } from './metadata.js';
import { at, damaged, ParquetProblem } from './problem.js';
import type { SchemaNode } from './schema-tree.js';
import { count, isStruct, ThriftReader, type ThriftStruct } from './thrift.js';

/** A leaf's part of a row group, decoded. `values` has one entry for each definition level that is the highest. */
export interface LeafColumn {
  readonly leaf: SchemaNode;
  /** Empty where the leaf cannot be null. */
  readonly definition: Uint8Array;
  /** Empty where the leaf is in no list. */
  readonly repetition: Uint8Array;
  readonly values: readonly unknown[];
  /** With those that are null. */
  readonly count: number;
}

/** What may still be decoded of a row group. */
export interface Budget {
  left: number;
}

/** What a value takes beside its bytes, about: its place, and the object that a text, a date, a long number or bytes are. */
function bytesPerValue({ physical, meaning }: SchemaNode): number {
  if (meaning.kind === 'plain' && (physical === 'BYTE_ARRAY' || physical === 'FIXED_LEN_BYTE_ARRAY')) return 256;
  return meaning.kind === 'date' || meaning.kind === 'timestamp' || physical === 'INT96' ? 96 : 32;
}

const DATA_PAGE = 0;
const DICTIONARY_PAGE = 2;
const DATA_PAGE_V2 = 3;

interface Page {
  readonly type: number;
  readonly header: ThriftStruct;
  readonly bytes: Uint8Array;
  readonly size: number;
  readonly offset: number;
}

/**
 * Decodes the pages of a column chunk. Each page's sizes and counts are checked against the chunk and the budget before
 * anything is made of them, and its checksum (CRC-32 of the compressed page) where the writer wrote one.
 */
export function decodeChunk(bytes: Uint8Array, chunk: ColumnChunk, leaf: SchemaNode, budget: Budget): LeafColumn {
  spend(budget, chunk.values * bytesPerValue(leaf), `its ${chunk.values} values`);
  const parts: { readonly definition: Uint8Array; readonly repetition: Uint8Array }[] = [];
  const values: unknown[] = [];
  let dictionary: readonly unknown[] | undefined;
  let seen = 0;
  let offset = 0;
  while (seen < chunk.values) {
    const page = readPage(bytes, offset, chunk);
    offset = page.offset + page.bytes.length;
    try {
      spend(budget, page.size, `a page of ${page.size} bytes`);
      if (page.type === DICTIONARY_PAGE) {
        if (dictionary !== undefined) throw damaged('there is a second dictionary');
        dictionary = decodeDictionary(page, chunk, leaf, budget);
      } else if (page.type === DATA_PAGE || page.type === DATA_PAGE_V2) {
        const decoded = decodeDataPage(page, chunk, leaf, dictionary, chunk.values - seen, budget);
        seen += decoded.count;
        parts.push(decoded);
        for (const value of decoded.values) values.push(value);
      }
    } catch (error) {
      throw at(`the page at byte ${chunk.start + page.offset}`, error);
    }
  }
  return {
    leaf,
    definition: concat(parts.map((part) => part.definition)),
    repetition: concat(parts.map((part) => part.repetition)),
    values,
    count: seen,
  };
}

function readPage(bytes: Uint8Array, offset: number, chunk: ColumnChunk): Page {
  const place = `the page at byte ${chunk.start + offset}`;
  const reader = new ThriftReader(bytes, offset);
  try {
    const header = reader.struct();
    const length = count(header, 3, 'its compressed size');
    const page = bytes.subarray(reader.offset, reader.offset + length);
    if (page.length !== length) throw damaged(`it has ${length} bytes, but the column has only ${page.length} more`);
    const crc = header.get(4);
    if (crc !== undefined && crc32(page) !== Number(crc) >>> 0) throw damaged('its checksum does not match');
    const size = count(header, 2, 'its size');
    return { type: count(header, 1, 'its type'), header, bytes: page, size, offset: reader.offset };
  } catch (error) {
    throw at(place, error);
  }
}

function decodeDictionary(page: Page, chunk: ColumnChunk, leaf: SchemaNode, budget: Budget): readonly unknown[] {
  const header = part(page, 7);
  const entries = count(header, 1, 'the number of values');
  if (entries > 1 << 26) throw damaged(`a dictionary of ${entries} values`);
  const bytes = decompress(page.bytes, chunk.codec, page.size);
  spend(budget, entries * bytesPerValue(leaf), `its dictionary of ${entries} values`);
  // PLAIN_DICTIONARY, here, is an older name of PLAIN.
  const encoding = count(header, 2, 'its encoding');
  return convertValues(decodeValues(encoding === 2 ? 0 : encoding, bytes, entries, leaf, budget.left), leaf);
}

function decodeDataPage(
  page: Page,
  chunk: ColumnChunk,
  leaf: SchemaNode,
  dictionary: readonly unknown[] | undefined,
  most: number,
  budget: Budget,
) {
  const version2 = page.type === DATA_PAGE_V2;
  const header = part(page, version2 ? 8 : 5);
  const total = count(header, 1, 'the number of values');
  if (total > most) throw damaged(`it has ${total} values, but the column has only ${most} more`);
  const { definition, repetition, data } = version2
    ? splitVersion2(page, header, total, chunk, leaf)
    : splitVersion1(page, header, total, chunk, leaf);
  let present = total;
  if (leaf.maxDefinition > 0) {
    present = 0;
    for (const level of definition) if (level === leaf.maxDefinition) present++;
  }
  if (version2) {
    const nulls = count(header, 2, 'the number of nulls');
    if (nulls !== total - present) throw damaged(`it has ${total - present} nulls, its header says ${nulls}`);
    const rows = count(header, 3, 'the number of rows');
    if (leaf.maxRepetition === 0 && rows !== total) throw damaged(`it has ${total} values for ${rows} rows`);
  }
  const encoding = count(header, version2 ? 4 : 2, 'its encoding');
  if (!isDictionaryEncoding(encoding)) {
    const values = convertValues(decodeValues(encoding, data, present, leaf, budget.left), leaf);
    return { definition, repetition, values, count: total };
  }
  if (dictionary === undefined) throw damaged('its dictionary is missing');
  const values = Array.from(decodeIndices(data, present, dictionary.length), (index) => dictionary[index]);
  return { definition, repetition, values, count: total };
}

/** Version 1: everything is compressed together, and the levels have their length in front. */
function splitVersion1(page: Page, header: ThriftStruct, total: number, chunk: ColumnChunk, leaf: SchemaNode) {
  let data = decompress(page.bytes, chunk.codec, page.size);
  const levels = (max: number, encoding: number): Uint8Array => {
    if (max === 0) return new Uint8Array(0);
    if (count(header, encoding, 'the encoding of its levels') !== 3) {
      throw new ParquetProblem('its levels are in the deprecated encoding BIT_PACKED, which is not supported.');
    }
    const { head, rest } = lengthPrefixed(data);
    data = rest;
    return decodeLevels(head, total, max);
  };
  const repetition = levels(leaf.maxRepetition, 4);
  const definition = levels(leaf.maxDefinition, 3);
  return { repetition, definition, data };
}

/** Version 2: the levels come first, not compressed, and the header has their lengths. */
function splitVersion2(page: Page, header: ThriftStruct, total: number, chunk: ColumnChunk, leaf: SchemaNode) {
  const definitionEnd = count(header, 6, 'the length of its levels') + count(header, 5, 'the length of its levels');
  const repetitionEnd = count(header, 6, 'the length of its levels');
  if (definitionEnd > page.bytes.length || definitionEnd > page.size)
    throw damaged('its levels are longer than itself');
  const repetition = decodeLevels(page.bytes.subarray(0, repetitionEnd), total, leaf.maxRepetition);
  const definition = decodeLevels(page.bytes.subarray(repetitionEnd, definitionEnd), total, leaf.maxDefinition);
  const rest = page.bytes.subarray(definitionEnd);
  const codec = header.get(7) === false ? 'UNCOMPRESSED' : chunk.codec;
  // A page without values may have no compressed bytes at all.
  const size = page.size - definitionEnd;
  const data = size === 0 && rest.length === 0 ? rest : decompress(rest, codec, size);
  return { repetition, definition, data };
}

function part(page: Page, id: number): ThriftStruct {
  const header = page.header.get(id);
  if (!isStruct(header)) throw damaged('its header is not complete');
  return header;
}

function spend(budget: Budget, bytes: number, what: string): void {
  budget.left -= bytes;
  if (budget.left >= 0) return;
  throw new ParquetProblem(
    `${what} would take more memory than "maxRowGroupBytes" allows for a row group. Raise it, read fewer "columns", or write the file again with smaller row groups.`,
  );
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  return new Uint8Array(Buffer.concat(parts));
}
