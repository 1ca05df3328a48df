import { ApiError } from './api-error.js';

/** Schemas of tools nest, but not this deep; code that walks a request by calling itself must come back. */
const MAX_DEPTH = 64;
/** What takes time to parse and to look at: a few tenths of a microsecond a value, a few microseconds a name or object. */
const MOST = { names: 2 ** 17, 'objects and lists': 2 ** 18, values: 2 ** 20 } as const;

/**
 * Refuses JSON that holds too much, before anything is made of it. What is not JSON may pass: the parser finds it.
 * @throws ApiError 400
 */
export function checkJsonSize(text: string): void {
  let [depth, names, containers, values] = [0, 0, 0, 0];
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case QUOTE:
        for (i++; i < text.length && text.charCodeAt(i) !== QUOTE; i++) if (text.charCodeAt(i) === BACKSLASH) i++;
        break;
      case COLON:
        names++;
        break;
      case COMMA:
        values++;
        break;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        containers++;
        if (++depth > MAX_DEPTH) throw refusal(`The body nests deeper than ${MAX_DEPTH} levels.`);
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        depth--;
    }
  }
  const counted = { names, 'objects and lists': containers, values };
  for (const what of ['names', 'objects and lists', 'values'] as const) {
    if (counted[what] > MOST[what]) throw refusal(`The body has more than ${MOST[what]} ${what}.`);
  }
}

const refusal = (message: string): ApiError => new ApiError(400, message, { apiCode: 'invalid_json' });

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
