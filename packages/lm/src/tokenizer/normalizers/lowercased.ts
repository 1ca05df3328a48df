import { type Edit, replaceCharacters } from '../piece.js';
import { lowercase } from '../unicode/unicode.js';

export const lowercased: Edit = (text, log) => {
  if (!log) return lowercase(text);
  return replaceCharacters(text, log, /./gsu, lowercase);
};
