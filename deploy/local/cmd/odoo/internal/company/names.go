package company

var (
	clientNames = []string{
		"Inmobiliaria Los Álamos SpA", "Servicio de Vivienda Metropolitano", "Retail Andes S.A.", "Clínica Santa Elena Ltda.", "Universidad del Valle Central",
		"Municipalidad de Quilicura", "Minera Cerro Pardo S.A.", "Hoteles Pacífico Sur SpA", "Logística Puerto Seco S.A.", "Inmobiliaria Vista Cordillera SpA",
		"Colegio San Ignacio de Maipú", "Viña Santa Rosa S.A.",
	}
	supplierNames = []string{
		"Hormigones Maipo S.A.", "Aceros del Biobío Ltda.", "Ferretería Industrial Ñuble SpA", "Grúas y Montajes Del Solar Ltda.", "Áridos Río Claro S.A.",
		"Electricidad Muñoz e Hijos Ltda.", "Sanitaria Peñalolén SpA", "Maderas Arauco Norte S.A.", "Vidrios y Aluminios O'Higgins Ltda.", "Pinturas Cóndor S.A.",
		"Excavaciones Atacama SpA", "Topografía y Suelos Rancagua Ltda.", "Seguridad Laboral Austral SpA", "Arriendo de Maquinaria \"El Roble\" S.A.", "Ascensores Andinos S.A.",
		"Climatización Sur Ltda.", "Impermeabilizaciones Nahuel SpA", "Transportes Cordillera Ltda.", "Prefabricados Lampa S.A.", "Instalaciones de Gas Ñuñoa SpA",
		"Estudio Jurídico Errázuriz & Cía.", "Oficina Técnica Valdés, Soto y Asociados", "Combustibles La Ruta S.A.", "Telecomunicaciones Futa SpA",
	}
	projectKinds = []string{"Edificio", "Condominio", "Ampliación", "Centro de distribución", "Remodelación", "Planta", "Colegio", "Estacionamiento subterráneo"}
	places       = []string{
		"Los Leones", "Barrio Italia", "Quilicura", "Chillán", "Puerto Montt", "La Serena", "Antofagasta", "Rancagua", "Viña del Mar", "Concepción", "Temuco", "Ñuñoa",
		"Peñalolén", "Maipú", "Curicó", "Valdivia",
	}
	managers = []string{"Carolina Fuentes", "Rodrigo Peña", "María José Contreras", "Felipe Muñoz", "Andrea Sepúlveda", "Ignacio Araya", "Valentina Núñez"}
	kinds    = []string{"invoicing", "site", "sales", "legal"}
)

// costCategories and the share of a project's cost that each takes, in millionths.
var costCategories = []struct {
	name  string
	share int64
}{
	{"labour", 300_000}, {"materials", 350_000}, {"subcontract", 220_000}, {"equipment", 80_000}, {"overhead", 50_000},
}

// CostCategories lists the categories by which budgets and costs are kept.
func CostCategories() []string {
	names := make([]string, len(costCategories))
	for i, c := range costCategories {
		names[i] = c.name
	}
	return names
}

// bought says whether suppliers invoice a category; the rest is paid as wages and overhead.
func bought(category string) bool {
	return category == "materials" || category == "subcontract" || category == "equipment"
}

// The bank accounts.
const (
	AccountMain     = "Banco de Chile CLP"
	AccountPayments = "BCI CLP"
	AccountDollars  = "Santander USD"
)
