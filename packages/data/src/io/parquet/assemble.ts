import type { LeafColumn } from './column-chunk.js';
import { damaged } from './problem.js';
import type { SchemaNode } from './schema-tree.js';

/** A leaf's values on their way into rows. */
class Cursor {
  #next = 0;
  #value = 0;
  readonly column: LeafColumn;
  constructor(column: LeafColumn) {
    this.column = column;
  }

  get done(): boolean {
    return this.#next >= this.column.count;
  }

  /** Levels of the entry that comes next. */
  get definition(): number {
    if (this.done) throw damaged('a list ends in the middle of a row');
    return this.column.definition[this.#next] ?? 0;
  }

  get repetition(): number {
    return this.done ? 0 : (this.column.repetition[this.#next] ?? 0);
  }

  take(): unknown {
    const { leaf, values } = this.column;
    const present = this.definition === leaf.maxDefinition;
    this.#next++;
    return present ? values[this.#value++] : null;
  }
}

type Next = () => unknown;

/**
 * The values of one top-level column, row by row, put together again from its leaves by their levels (record assembly of the
 * Dremel paper). Lists become arrays, groups objects, maps whose keys are different texts objects, and other maps lists of
 * `{ key, value }`. Leaves of one group that disagree about what is null or how long a list is are damage.
 */
export function assemble(node: SchemaNode, columns: readonly LeafColumn[]): { next: Next; end(): void } {
  const cursors = columns.map((column) => new Cursor(column));
  const build = builder(node, cursors);
  return {
    next() {
      for (const cursor of cursors) if (cursor.repetition !== 0) throw damaged('a row begins in the middle of a list');
      return build();
    },
    end() {
      if (!cursors.every((cursor) => cursor.done)) throw damaged('there are more values than rows');
    },
  };
}

/** Makes one value of a node from its leaves' next entries. */
function builder(node: SchemaNode, cursors: readonly Cursor[]): Next {
  const present = presentBuilder(node, cursors);
  if (node.repetition === 'repeated') return listBuilder(node, cursors, present);
  if (node.repetition === 'required' || node.physical !== undefined) return present;
  return () => (isAbsent(node, cursors) ? null : present());
}

/** The same where the node itself is there. */
function presentBuilder(node: SchemaNode, cursors: readonly Cursor[]): Next {
  if (node.physical !== undefined) return () => cursors[0]!.take();
  const [inner] = node.children;
  if (node.children.length === 1 && inner!.repetition === 'repeated') {
    if (node.meaning.kind === 'map' && isEntry(inner!)) return mapBuilder(inner!, cursors);
    if (node.meaning.kind === 'list') {
      // Three levels (list, repeated group, element), or, from old writers, two: then the repeated node is the element.
      const { children, name } = inner!;
      const wrapper = children.length === 1 && name !== 'array' && name !== `${node.name}_tuple`;
      return listBuilder(inner!, cursors, wrapper ? builder(children[0]!, cursors) : presentBuilder(inner!, cursors));
    }
  }
  const names = node.children.map((child) => child.name);
  const fields = node.children.map((child) => builder(child, under(child, node, cursors)));
  return () => record(names, fields);
}

/** An object of own properties, whatever their names. */
export function record(names: readonly string[], fields: readonly Next[]): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  for (let i = 0; i < names.length; i++) {
    const [name, value] = [names[i]!, fields[i]!()];
    if (name !== '__proto__') object[name] = value;
    else Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true });
  }
  return object;
}

function under(child: SchemaNode, node: SchemaNode, cursors: readonly Cursor[]): readonly Cursor[] {
  const first = child.firstLeaf - node.firstLeaf;
  return cursors.slice(first, first + child.leafCount);
}

/** Whether a node is null; its leaves then have one entry each, which is taken. */
function isAbsent(node: SchemaNode, cursors: readonly Cursor[]): boolean {
  const absent = cursors[0]!.definition < node.maxDefinition;
  for (const cursor of cursors) {
    if (cursor.definition < node.maxDefinition !== absent) throw damaged('its fields disagree about what is null');
    if (absent) cursor.take();
  }
  return absent;
}

function listBuilder(node: SchemaNode, cursors: readonly Cursor[], item: Next): () => unknown[] {
  return () => {
    const items: unknown[] = [];
    if (isAbsent(node, cursors)) return items;
    for (;;) {
      items.push(item());
      const more = cursors[0]!.repetition === node.maxRepetition;
      for (const { repetition } of cursors) {
        if (repetition > node.maxRepetition || (repetition === node.maxRepetition) !== more) {
          throw damaged('its fields disagree about how long a list is');
        }
      }
      if (!more) return items;
    }
  };
}

function isEntry(node: SchemaNode): boolean {
  return node.children.length === 2 && node.children.every((child) => child.repetition !== 'repeated');
}

function mapBuilder(node: SchemaNode, cursors: readonly Cursor[]): Next {
  const [key, value] = node.children.map((child) => builder(child, under(child, node, cursors))) as [Next, Next];
  const entries = listBuilder(node, cursors, () => ({ key: key(), value: value() }));
  const textKeys = node.children[0]!.meaning.kind === 'string';
  return () => {
    const pairs = entries() as { readonly key: unknown; readonly value: unknown }[];
    const keys = pairs.map((pair) => pair.key);
    if (!textKeys || new Set(keys).size !== keys.length || keys.includes(null)) return pairs;
    return Object.fromEntries(pairs.map((pair) => [pair.key as string, pair.value]));
  };
}
