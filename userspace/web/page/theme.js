// Before the first paint: the theme that was chosen, else the system's by the style sheet.
(() => {
	let theme = null;
	try { theme = localStorage.getItem('tapline.theme'); } catch { /* no storage: the system's */ }
	if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
