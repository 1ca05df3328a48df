export { lengthOf, PYTHON_SPACE, splitLines, splitWords, strip, stripEnd, stripStart } from './text.js';
