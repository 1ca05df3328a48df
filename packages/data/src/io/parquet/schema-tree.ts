import { damaged, ParquetProblem } from './problem.js';
import { count, isStruct, type ThriftStruct, text } from './thrift.js';

export const PHYSICAL_TYPES = [
  'BOOLEAN',
  'INT32',
  'INT64',
  'INT96',
  'FLOAT',
  'DOUBLE',
  'BYTE_ARRAY',
  'FIXED_LEN_BYTE_ARRAY',
] as const;
export type PhysicalType = (typeof PHYSICAL_TYPES)[number];

/** What the values of a column mean; from the logical type, or else from the older converted type. */
export type Meaning =
  | { readonly kind: 'plain' | 'string' | 'json' | 'date' | 'uuid' | 'float16' | 'unsigned' | 'list' | 'map' }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'time' | 'timestamp'; readonly perSecond: number; readonly utc: boolean }
  | { readonly kind: 'refused'; readonly type: string };

/** A field of the schema: a column or a part of one. */
export interface SchemaNode {
  readonly name: string;
  /** Names from the column down, for messages. */
  readonly path: readonly string[];
  readonly repetition: 'required' | 'optional' | 'repeated';
  /** Definition level of a value that is there, and repetition level of a next one, at this node. */
  readonly maxDefinition: number;
  readonly maxRepetition: number;
  readonly meaning: Meaning;
  /** Of groups; a leaf has none and has a physical type. */
  readonly children: readonly SchemaNode[];
  readonly physical: PhysicalType | undefined;
  /** Bytes of a FIXED_LEN_BYTE_ARRAY. */
  readonly typeLength: number;
  /** Leaves in front of this node's first leaf in the file's order, and its number of leaves. */
  readonly firstLeaf: number;
  readonly leafCount: number;
}

/** Digits of a decimal: writers have up to 77, and a text of that many is made of each value. */
const MAX_PRECISION = 100;
/** Levels then fit into a byte. */
const MAX_DEPTH = 200;
const PLAIN: Meaning = { kind: 'plain' };

/** The tree of the flat, depth-first list of schema elements. A list that is no tree is damage. */
export function schemaTree(elements: readonly ThriftStruct[]): SchemaNode {
  let next = 0;
  let leaves = 0;
  const build = (parent: SchemaNode | undefined, depth: number): SchemaNode => {
    const element = elements[next++];
    if (element === undefined) throw damaged('the schema ends too early');
    if (depth > MAX_DEPTH) throw new ParquetProblem(`the schema is nested more than ${MAX_DEPTH} deep.`);
    const name = text(element.get(4));
    if (name === undefined) throw damaged('a column has no name');
    const repetition = (['required', 'optional', 'repeated'] as const)[parent ? count(element, 3, 'repetition', 0) : 0];
    if (repetition === undefined) throw damaged(`the column "${name}" has an unknown repetition`);
    const isLeaf = element.has(1);
    const physical = isLeaf ? PHYSICAL_TYPES[count(element, 1, 'the type of a column')] : undefined;
    if (isLeaf && physical === undefined) throw damaged(`the column "${name}" has an unknown type`);
    const childCount = count(element, 5, 'the number of children', 0);
    if (isLeaf && childCount > 0) throw damaged(`the column "${name}" has values and children`);
    if (childCount > elements.length - next) throw damaged('the schema ends too early');
    const typeLength = count(element, 2, 'the length of a type', 0);
    if (physical === 'FIXED_LEN_BYTE_ARRAY' && typeLength === 0) throw damaged(`"${name}" has values of no length`);
    const children: SchemaNode[] = [];
    const node: SchemaNode = {
      name,
      path: parent === undefined ? [] : [...parent.path, name],
      repetition,
      maxDefinition: (parent?.maxDefinition ?? 0) + (repetition === 'required' ? 0 : 1),
      maxRepetition: (parent?.maxRepetition ?? 0) + (repetition === 'repeated' ? 1 : 0),
      meaning: meaningOf(element, physical, typeLength, name),
      children,
      physical,
      typeLength,
      firstLeaf: leaves,
      leafCount: 0,
    };
    if (isLeaf) leaves++;
    for (let i = 0; i < childCount; i++) children.push(build(node, depth + 1));
    if (new Set(children.map((child) => child.name)).size !== children.length) {
      throw new ParquetProblem(
        `${parent === undefined ? 'two columns' : `two fields of "${name}"`} have the same name.`,
      );
    }
    if (!isLeaf && leaves === node.firstLeaf && parent !== undefined) throw damaged(`the group "${name}" is empty`);
    return Object.assign(node, { leafCount: leaves - node.firstLeaf });
  };
  const root = build(undefined, 0);
  if (next !== elements.length) throw damaged('the schema has elements outside its tree');
  return root;
}

/** The columns' leaves in the order of the file. */
export function leavesOf(node: SchemaNode): SchemaNode[] {
  return node.physical === undefined ? node.children.flatMap(leavesOf) : [node];
}

/** `meaning` by LogicalType (field 10), else by ConvertedType (field 6); what contradicts the physical type is damage. */
function meaningOf(
  element: ThriftStruct,
  physical: PhysicalType | undefined,
  typeLength: number,
  name: string,
): Meaning {
  const logical = element.get(10);
  const meaning =
    (isStruct(logical) ? logicalMeaning(logical, element) : undefined) ??
    (element.has(6) ? convertedMeaning(count(element, 6, 'the converted type'), element) : PLAIN);
  if (!fits(meaning, physical, typeLength)) throw damaged(`the column "${name}" has values that its type cannot have`);
  return meaning;
}

function fits(meaning: Meaning, physical: PhysicalType | undefined, typeLength: number): boolean {
  const bytes = physical === 'BYTE_ARRAY' || physical === 'FIXED_LEN_BYTE_ARRAY';
  const integer = physical === 'INT32' || physical === 'INT64';
  switch (meaning.kind) {
    case 'plain':
    case 'refused':
      return true;
    case 'list':
    case 'map':
      return physical === undefined;
    case 'string':
    case 'json':
      return bytes;
    case 'date':
      return physical === 'INT32';
    case 'uuid':
      return physical === 'FIXED_LEN_BYTE_ARRAY' && typeLength === 16;
    case 'float16':
      return physical === 'FIXED_LEN_BYTE_ARRAY' && typeLength === 2;
    case 'unsigned':
      return integer;
    case 'decimal':
      return (bytes || integer) && meaning.scale <= meaning.precision && isPrecision(meaning.precision);
    case 'time':
      return physical === (meaning.perSecond === 1000 ? 'INT32' : 'INT64');
    case 'timestamp':
      return physical === 'INT64';
  }
}

function isPrecision(digits: number): boolean {
  return digits > 0 && digits <= MAX_PRECISION;
}

function logicalMeaning(logical: ThriftStruct, element: ThriftStruct): Meaning | undefined {
  const [id, value] = [...logical][0] ?? [];
  const parameters: ThriftStruct = isStruct(value) ? value : new Map();
  switch (id) {
    case 1:
    case 4:
      return { kind: 'string' };
    case 2:
      return { kind: 'map' };
    case 3:
      return { kind: 'list' };
    case 5:
      return decimal(parameters, 1, 2);
    case 6:
      return { kind: 'date' };
    case 7:
    case 8: {
      const unit = parameters.get(2);
      const perSecond = [1e3, 1e6, 1e9].find((_, i) => isStruct(unit) && unit.has(i + 1));
      if (perSecond === undefined) throw damaged('a time has no unit');
      return { kind: id === 7 ? 'time' : 'timestamp', perSecond, utc: parameters.get(1) === true };
    }
    case 10:
      return parameters.get(2) === false ? { kind: 'unsigned' } : PLAIN;
    case 12:
      return { kind: 'json' };
    case 14:
      return { kind: 'uuid' };
    case 15:
      return { kind: 'float16' };
    case 13:
      return { kind: 'refused', type: 'BSON' };
    case 16:
      return { kind: 'refused', type: 'VARIANT' };
    // NULL, geometries (their bytes) and what came after this was written: as if there were no logical type.
    default:
      return element.has(6) ? undefined : PLAIN;
  }
}

function convertedMeaning(converted: number, element: ThriftStruct): Meaning {
  switch (converted) {
    case 0:
    case 4:
      return { kind: 'string' };
    case 1:
    case 2:
      // MAP_KEY_VALUE stands on the map itself in old files, and on the repeated group inside it in others.
      return element.has(1) || (converted === 2 && element.get(3) === 2) ? PLAIN : { kind: 'map' };
    case 3:
      return { kind: 'list' };
    case 5:
      return decimal(element, 7, 8);
    case 6:
      return { kind: 'date' };
    case 7:
    case 8:
      return { kind: 'time', perSecond: converted === 7 ? 1e3 : 1e6, utc: true };
    case 9:
    case 10:
      return { kind: 'timestamp', perSecond: converted === 9 ? 1e3 : 1e6, utc: true };
    case 11:
    case 12:
    case 13:
    case 14:
      return { kind: 'unsigned' };
    case 19:
      return { kind: 'json' };
    case 20:
      return { kind: 'refused', type: 'BSON' };
    case 21:
      return { kind: 'refused', type: 'INTERVAL' };
    default:
      return PLAIN;
  }
}

function decimal(struct: ThriftStruct, scale: number, precision: number): Meaning {
  return {
    kind: 'decimal',
    scale: count(struct, scale, 'the scale of a decimal', 0),
    precision: count(struct, precision, 'the precision of a decimal'),
  };
}
