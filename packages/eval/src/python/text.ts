/** `text.isdigit()`, of ASCII. */
export const isDigits = (text: string): boolean => /^[0-9]+$/.test(text);
/** `string.punctuation`. */
export const PUNCTUATION = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';
