import { isJsonObject, type JsonObject } from '../files.js';

const START = /^\s*<parameter=([^>\n]+)>\n?/;
const PARAMETER_END = '</parameter>';
const END = /^\s*<\/function>/;

/** The name of the function that a text in the format of `XmlArguments` begins with, and its length. */
export function xmlHead(text: string): { readonly name: string; readonly length: number } | undefined {
  const found = /^\s*<function=([^>\n]+)>/.exec(text);
  return found ? { name: found[1]!.trim(), length: found[0].length } : undefined;
}

/**
 * Arguments as Qwen3-Coder's chat template has them, from after `<function=NAME>`:
 *
 *     <parameter=NAME>
 *     VALUE
 *     </parameter>
 *     </function>
 *
 * as JSON text that grows with every parameter. A value is what its schema says; text where the schema says nothing.
 */
export class XmlArguments {
  readonly #properties: JsonObject;
  #count = 0;
  #done = false;

  /** @param schema JSON Schema of the function's parameters */
  constructor(schema: JsonObject | undefined) {
    this.#properties = isJsonObject(schema?.properties) ? schema.properties : {};
  }

  get done(): boolean {
    return this.#done;
  }

  /** What text says for certain, and what of it is left. `close` is a text that ends the arguments in any case. */
  take(text: string, close: string): { readonly json: string; readonly rest: string } {
    let json = '';
    let rest = text;
    while (!this.#done) {
      const start = START.exec(rest);
      const valueEnd = start ? rest.indexOf(PARAMETER_END, start[0].length) : -1;
      if (start && valueEnd >= 0) {
        const value = rest.slice(start[0].length, valueEnd).replace(/\n$/, '');
        json += this.#member(start[1]!.trim(), value);
        rest = rest.slice(valueEnd + PARAMETER_END.length);
        continue;
      }
      const end = END.exec(rest);
      const closed = start ? -1 : rest.indexOf(close);
      if (!end && closed < 0) break;
      json += this.#close();
      rest = rest.slice(end ? end[0].length : closed);
    }
    return { json, rest };
  }

  /** What closes the arguments when nothing follows: nothing in the middle of one, for then they are not whole. */
  finish(rest: string): string {
    return this.#done || rest.trim() !== '' ? '' : this.#close();
  }

  #close(): string {
    this.#done = true;
    return this.#count === 0 ? '{}' : '}';
  }

  #member(name: string, value: string): string {
    const schema = Object.hasOwn(this.#properties, name) ? this.#properties[name] : undefined;
    const json = JSON.stringify(typedValue(value, schema));
    return `${this.#count++ === 0 ? '{' : ', '}${JSON.stringify(name)}: ${json}`;
  }
}

function typedValue(text: string, schema: unknown): unknown {
  const types = isJsonObject(schema) ? typesOf(schema) : ['string'];
  const word = text.trim().toLowerCase();
  if (word === 'null' && !(types.length === 1 && types[0] === 'string')) return null;
  if (types.includes('string')) return text;
  // Python's spelling, which the template itself gives to what it repeats.
  if (word === 'true' || word === 'false') return word === 'true';
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function typesOf(schema: JsonObject): unknown[] {
  if (schema.type !== undefined) return [schema.type].flat();
  const options = schema.anyOf ?? schema.oneOf;
  // References and the like may be anything.
  if (!Array.isArray(options)) return '$ref' in schema ? [] : ['string'];
  return options.flatMap((option) => (isJsonObject(option) ? typesOf(option) : []));
}
